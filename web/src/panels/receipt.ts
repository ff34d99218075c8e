// What is told of how a picture was made: the seeds, words and settings of its workflow, and its receipt.
import type { JsonValue } from "../api/generated";

export interface Fact {
  node: string;
  input: string;
  value: JsonValue;
}

/** Inputs that say most about a picture, in the order in which they are shown. */
const TELLING = ["text", "seed", "checkpoint", "sampler", "kind", "steps", "guidance_scale", "strength", "width", "height"];
const MANY = 24;

interface Nodes {
  [id: string]: { type?: string; values?: { [input: string]: JsonValue } };
}

const nodesOf = (workflow: { [key: string]: JsonValue }): Nodes => (workflow["nodes"] ?? {}) as unknown as Nodes;

/** The telling values of a workflow, prompts and seeds first. */
export function factsOf(workflow: { [key: string]: JsonValue }): Fact[] {
  const facts = Object.entries(nodesOf(workflow)).flatMap(([node, spec]) =>
    Object.entries(spec.values ?? {})
      .filter(([input, value]) => TELLING.includes(input) && value !== "" && value !== null)
      .map(([input, value]) => ({ node, input, value })),
  );
  const rank = (fact: Fact) => TELLING.indexOf(fact.input);
  return facts.sort((a, b) => rank(a) - rank(b)).slice(0, MANY);
}

/** The seed that a workflow's picture hangs on: that of its last node with one. Null where it has none. */
export function seedOf(workflow: { [key: string]: JsonValue }): number | null {
  const seeds = Object.values(nodesOf(workflow)).flatMap((spec) => {
    const seed = spec.values?.["seed"];
    return typeof seed === "number" ? [seed] : [];
  });
  return seeds.at(-1) ?? null;
}

/** The plain entries of a receipt as lines; lists and maps are counted, not spelled out. */
export function linesOf(receipt: { [key: string]: JsonValue } | null): [string, string][] {
  return Object.entries(receipt ?? {}).flatMap(([key, value]): [string, string][] => {
    if (value === null || key === "workflow") return [];
    if (typeof value === "object") return [[key, String(Object.keys(value).length)]];
    return [[key, String(value)]];
  });
}
