// The seed of the next run is chosen before it, and shown; nothing changes it behind one's back.
import { own, type Workflow } from "../model/document";
import { setValue } from "../model/edit";
import type { Types } from "../model/fit";
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

/** The workflow with each seed as its mode wants it for the next run. */
export function drawSeeds(
  workflow: Workflow, types: Types, modes: { [address: string]: SeedMode }, last: { [address: string]: number },
): Workflow {
  let next = workflow;
  for (const [address, seed] of Object.entries(seedsOf(workflow, types))) {
    const mode = modes[address] ?? "fixed";
    const dot = address.lastIndexOf(".");
    const to = { node: address.slice(0, dot), input: address.slice(dot + 1) };
    if (mode === "random") next = setValue(next, to, randomSeed());
    // The first run takes the seed that is shown; each one after it the next.
    if (mode === "increment" && last[address] === seed) next = setValue(next, to, seed + 1);
  }
  return next;
}
