// Nodes that stay in the document and take no part in a run: what bypassed ones were given goes on to their readers;
// muted ones take along what depends on them.
import type { Input, NodeType } from "../api/generated";
import { asList, mapEntries, own, type Link, type Links, type NodeSpec, type Workflow } from "./document";
import { inputOf, isVariable, outputOf, type Types } from "./fit";

/** The first input of a node type that takes what an output of it gives; null where there is none. */
export function throughInput(types: Types, type: string, output: string): string | null {
  const known = own(types, type);
  const given = known && outputOf(known, output);
  if (!known || !given) return null;
  const input = known.inputs.find((one) => one.types.some((kind) => kind === given.type || given.bases.includes(kind)));
  return input?.name ?? null;
}

/** The muted nodes, and all that depend on one. */
export function silentIn(workflow: Workflow): ReadonlySet<string> {
  const silent = new Set(Object.keys(workflow.nodes).filter((id) => workflow.nodes[id]!.muted));
  if (!silent.size) return silent;
  const readers = new Map<string, string[]>();
  for (const [id, spec] of Object.entries(workflow.nodes)) {
    for (const { node } of Object.values(spec.links).flatMap(asList)) {
      const there = readers.get(node);
      if (there) there.push(id);
      else readers.set(node, [id]);
    }
  }
  for (const id of silent) for (const reader of readers.get(id) ?? []) silent.add(reader);
  return silent;
}

/** The workflow as a run sees it; the workflow itself where no node is bypassed or muted. */
export function takingPart(workflow: Workflow, types: Types): Workflow {
  const passed = withoutBypassed(workflow, types);
  const silent = silentIn(passed);
  const keep = <T>(map: { [id: string]: T }) => Object.fromEntries(Object.entries(map).filter(([id]) => !silent.has(id)));
  return silent.size ? { ...passed, nodes: keep(passed.nodes), layout: keep(passed.layout) } : passed;
}

/** The workflow without its bypassed nodes; the workflow itself where there are none. */
export function withoutBypassed(workflow: Workflow, types: Types): Workflow {
  const all = Object.entries(workflow.nodes);
  if (!all.some(([, spec]) => spec.bypassed)) return workflow;
  const nodes: { [id: string]: NodeSpec } = {};
  for (const [id, spec] of all) if (!spec.bypassed) nodes[id] = { ...spec, links: joined(spec, workflow, types) };
  const kept = Object.entries(workflow.layout).filter(([id]) => Object.hasOwn(nodes, id));
  return { ...workflow, nodes, layout: Object.fromEntries(kept) };
}

function joined(spec: NodeSpec, workflow: Workflow, types: Types): Links {
  const type = own(types, spec.type);
  const links = mapEntries(spec.links, (there, name) => {
    const wanted = type && inputOf(type, name);
    const found = asList(there).flatMap((one) => sources(one, workflow, types, wanted));
    return Array.isArray(there) ? found : found.slice(0, 1);
  });
  const left = Object.entries(links).filter(([, found]) => found.length);
  return Object.fromEntries(left.map(([input, found]) => [input, Array.isArray(spec.links[input]) ? found : found[0]!]));
}

const MAX_TRIED = 100; // links of a node of an unknown type that may be the one that it passes on

/** What an output of a bypassed node comes from. A node of an unknown type passes on its first link that the reader takes. */
function sources(link: Link, workflow: Workflow, types: Types, wanted: Input | undefined): Link[] {
  const found: Link[] = [];
  const seen = new Set<string>();
  const served = new Set<Link>();
  const waiting: { link: Link; behind: Link | null }[] = [{ link, behind: null }];
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const { link: one, behind } = next;
    const spec = own(workflow.nodes, one.node);
    const key = `${one.node} ${one.output}`;
    if (behind && served.has(behind)) continue;
    if (!spec?.bypassed) {
      if (behind && !(spec && mayTake(wanted, one, own(types, spec.type)))) continue;
      found.push(one);
      if (behind) served.add(behind);
    } else if (!seen.has(key)) {
      seen.add(key);
      const known = Object.hasOwn(types, spec.type);
      const input = known ? throughInput(types, spec.type, one.output) : null;
      const given = known ? (input === null ? [] : asList(own(spec.links, input))) : Object.values(spec.links).flatMap(asList).slice(0, MAX_TRIED);
      waiting.push(...given.map((source) => ({ link: source, behind: known ? behind : (behind ?? one) })).reverse());
    }
  }
  return found;
}

/** Whether an input takes an output, as far as their types are known. */
function mayTake(wanted: Input | undefined, from: Link, type: NodeType | undefined): boolean {
  const given = type && outputOf(type, from.output);
  if (!wanted || !given || isVariable(given.type)) return true;
  return wanted.types.some((kind) => isVariable(kind) || kind === given.type || given.bases.includes(kind));
}
