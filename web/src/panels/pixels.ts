// Pictures as pixels.

/** A picture that can be drawn. Throws where there is none at the path. */
export async function load(path: string): Promise<HTMLImageElement> {
  const image = new Image();
  image.src = path;
  await image.decode();
  return image;
}

/** A picture's RGBA at a size of one's own. */
export function pixelsOf(image: HTMLImageElement, width: number, height: number): Uint8ClampedArray {
  const context = new OffscreenCanvas(width, height).getContext("2d")!;
  context.drawImage(image, 0, 0, width, height);
  return context.getImageData(0, 0, width, height).data;
}
