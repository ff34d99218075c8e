// How a wire type looks: a hue, a shape and a letter, so that types differ without colour as well.

export type Shape = "round" | "square" | "diamond" | "hex" | "drop";
export interface Look {
  hue: number;
  /** Share of full colour; plain values are grey. */
  chroma: number;
  shape: Shape;
  letter: string;
}

const look = (hue: number, shape: Shape, letter: string, chroma = 1): Look => ({ hue, shape, letter, chroma });

const KNOWN: { [type: string]: Look } = {
  Model: look(295, "hex", "M"),
  TextEncoder: look(95, "hex", "T"),
  VAE: look(20, "hex", "V"),
  Conditioning: look(60, "drop", "C"),
  Sigmas: look(185, "diamond", "S"),
  Latent: look(345, "square", "L"),
  Image: look(240, "square", "I"),
  Mask: look(150, "square", "K"),
  int: look(260, "round", "1", 0.3),
  float: look(260, "round", ".", 0.3),
  str: look(130, "round", "a", 0.45),
  bool: look(50, "round", "?", 0.45),
};
const SHAPES: Shape[] = ["round", "square", "diamond", "hex", "drop"];

/** The look of a type; one that is not known gets its own from its name, always the same. */
export function lookOf(type: string): Look {
  const known = Object.hasOwn(KNOWN, type) ? KNOWN[type] : undefined;
  if (known) return known;
  if (type.startsWith("~") || !type) return look(0, "round", "*", 0);
  let hash = 7;
  for (const letter of type) hash = (hash * 31 + letter.codePointAt(0)!) >>> 0;
  return look((hash * 47) % 360, SHAPES[hash % SHAPES.length]!, type[0]!.toUpperCase());
}

/** The hue of a category's accent on a node. */
export function categoryHue(category: string): number {
  const known: { [root: string]: number } = {
    model: 295, conditioning: 60, text: 130, latent: 345, sampling: 185, image: 240, mask: 150, inpaint: 20,
    theory: 95, math: 260, logic: 50, primitive: 260,
  };
  const root = category.split("/")[0]!;
  return known[root] ?? lookOf(root + "·").hue;
}
