// What is told of how a picture was made: the seeds, words and settings of its workflow, and its receipt.
import type { JsonValue } from "../api/generated";
import { t } from "../i18n/index.svelte";

export interface Fact {
  node: string;
  input: string;
  value: JsonValue;
}

/** Inputs that say most about a picture, in the order in which they are shown. */
const TELLING = ["text", "seed", "checkpoint", "sampler", "kind", "steps", "guidance_scale", "strength", "width", "height"];
const MANY = 24;

/** The place of an input among the telling ones; those that tell less come after them. */
export const rank = (input: string): number => (TELLING.includes(input) ? TELLING.indexOf(input) : TELLING.length);

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
  return facts.sort((a, b) => rank(a.input) - rank(b.input)).slice(0, MANY);
}

/** The seed that a workflow's picture hangs on: that of its last node with one. Null where it has none. */
export function seedOf(workflow: { [key: string]: JsonValue }): number | null {
  const seeds = Object.values(nodesOf(workflow)).flatMap((spec) => {
    const seed = spec.values?.["seed"];
    return typeof seed === "number" ? [seed] : [];
  });
  return seeds.at(-1) ?? null;
}

/** A line of a receipt: what it says, and all of it. */
export interface Line {
  label: string;
  text: string;
  exact: string;
}

const DIGEST = 12; // characters of a digest that tell two files apart

/** A receipt in words: the files that were read, what computed it, and the program. A picture may hold anything as its receipt. */
export function linesOf(receipt: { [key: string]: JsonValue } | null): Line[] {
  const { files, device, dtype, compiled, versions } = receipt ?? {};
  const read = entries(files).map(([path, digest]): Line => {
    const at = path.indexOf("/");
    return { label: named("receipt.file", path.slice(0, at)), text: path.slice(at + 1), exact: digest.slice(0, DIGEST) };
  });
  const place = [
    typeof device === "string" ? named("receipt.on", device.split(":")[0]!) : "",
    typeof dtype === "string" ? named("receipt.precision", dtype) : "",
    compiled === true ? t("receipt.compiled") : "",
  ].filter(Boolean);
  const exact = [device, dtype].filter((one) => typeof one === "string").join(", ");
  const program = entries(versions).filter(([name]) => name === "nodegraph").map(([name, version]): Line => (
    { label: t("receipt.program"), text: `${name} ${version}`, exact: entries(versions).map((one) => one.join(" ")).join(", ") }
  ));
  return [...read, ...(place.length ? [{ label: t("receipt.place"), text: place.join(", "), exact }] : []), ...program];
}

/** The texts of a map by their names; none of what is no map. */
const entries = (map: JsonValue | undefined): [string, string][] =>
  Object.entries(map && typeof map === "object" && !Array.isArray(map) ? map : {})
    .filter((one): one is [string, string] => typeof one[1] === "string");

/** What a name is called; the name itself where it is called nothing. */
function named(key: string, name: string): string {
  const called = t(`${key}.${name}`);
  return called === `${key}.${name}` ? name.replaceAll("_", " ") : called;
}
