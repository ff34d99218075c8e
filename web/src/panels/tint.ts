// The colour in which a mask is drawn: one that is not in the picture.

export type Color = readonly [number, number, number];

export const TINTS: readonly Color[] = [[255, 64, 92], [0, 190, 255], [64, 222, 96], [255, 178, 0], [196, 92, 255]];

/** The tint that differs most from a picture's pixels (RGBA): from all but the tenth of them that are most like it. */
export function tintFor(pixels: Uint8ClampedArray): Color {
  const step = 4 * Math.max(1, Math.floor(pixels.length / 4 / 2000));
  let best = TINTS[0]!;
  let most = -1;
  for (const tint of TINTS) {
    const distances: number[] = [];
    for (let at = 0; at < pixels.length; at += step) {
      distances.push(Math.hypot(pixels[at]! - tint[0], pixels[at + 1]! - tint[1], pixels[at + 2]! - tint[2]));
    }
    const distance = distances.sort((a, b) => a - b)[Math.floor(distances.length / 10)] ?? 0;
    if (distance > most) [best, most] = [tint, distance];
  }
  return best;
}

export const cssOf = ([red, green, blue]: Color): string => `rgb(${red} ${green} ${blue})`;
