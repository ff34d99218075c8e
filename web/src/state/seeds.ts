// The seed of the next run is chosen before it, and shown; nothing changes it behind one's back.
import { own, type Workflow } from "../model/document";
import { setValue } from "../model/edit";
import type { Types } from "../model/fit";
import { PREFIX } from "../model/subgraph";
import { widgetOf } from "../model/value";
import type { SeedMode } from "./tab.svelte";

/** Seeds stay below 2^53, where every whole number is itself in a browser and in JSON. */
export const randomSeed = (): number => {
  const [high, low] = crypto.getRandomValues(new Uint32Array(2));
  return (high! & 0x1fffff) * 2 ** 32 + low!;
};

/** Every seed of a workflow that is a value, by `node.input`. */
export function seedsOf(workflow: Workflow, types: Types): { [address: string]: number } {
  const seeds: { [address: string]: number } = {};
  for (const [id, spec] of Object.entries(workflow.nodes)) {
    for (const input of own(types, spec.type)?.inputs ?? []) {
      if (Object.hasOwn(spec.links, input.name) || widgetOf(input)?.kind !== "seed") continue;
      const value = own(spec.values, input.name) ?? input.default;
      if (typeof value === "number") seeds[`${id}.${input.name}`] = value;
    }
  }
  return seeds;
}

/** The seeds of a document, and of its subgraphs under addresses such as `subgraph:NAME/node.input`. */
export function allSeeds(root: Workflow, types: Types): { [address: string]: number } {
  const within = Object.entries(root.subgraphs).flatMap(([name, { nodes }]) => (
    Object.entries(seedsOf({ ...root, nodes }, types)).map(([address, seed]) => [`${PREFIX}${name}/${address}`, seed] as const)
  ));
  return { ...seedsOf(root, types), ...Object.fromEntries(within) };
}

/** The document with each seed, in subgraphs too, as its mode wants it for the next run. */
export function drawSeeds(
  root: Workflow, types: Types, modes: { [address: string]: SeedMode }, last: { [address: string]: number },
): Workflow {
  let subgraphs = root.subgraphs;
  for (const [name, definition] of Object.entries(root.subgraphs)) {
    const { nodes } = drawScope({ ...root, nodes: definition.nodes }, types, modes, last, `${PREFIX}${name}/`);
    if (nodes !== definition.nodes) subgraphs = { ...subgraphs, [name]: { ...definition, nodes } };
  }
  return drawScope(subgraphs === root.subgraphs ? root : { ...root, subgraphs }, types, modes, last, "");
}

function drawScope(
  workflow: Workflow, types: Types, modes: { [address: string]: SeedMode }, last: { [address: string]: number }, scope: string,
): Workflow {
  let next = workflow;
  for (const [address, seed] of Object.entries(seedsOf(workflow, types))) {
    const mode = modes[scope + address] ?? "fixed";
    const dot = address.lastIndexOf(".");
    const to = { node: address.slice(0, dot), input: address.slice(dot + 1) };
    if (mode === "random") next = setValue(next, to, randomSeed());
    // The first run takes the seed that is shown; each one after it the next.
    if (mode === "increment" && last[scope + address] === seed) next = setValue(next, to, (seed + 1) % 2 ** 53);
  }
  return next;
}
