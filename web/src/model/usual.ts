// What is added most: the nodes along the way of a picture, from a model to a file.
const WAY = [
  "LoadModel", "LoadImage", "Encode", "EmptyLatent", "VAEEncode", "Schedule", "Sampler", "VAEDecode", "SaveImage", "PreviewImage",
];
const LEAST = 5; // more than a name loses where what was typed stands at its end

/** How much a node type is favoured in a search: the nearer, the more. From an output the way goes on; else it begins. */
export function usual(type: string, side: "input" | "output" | null): number {
  const index = WAY.indexOf(type);
  return index < 0 ? 0 : LEAST + (side === "output" ? index : WAY.length - index) / 10;
}
