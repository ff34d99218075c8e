// Bypassed nodes: they stay in the document and take no part in a run; what they were given goes on to their readers.
import { asList, mapEntries, own, type Link, type Links, type NodeSpec, type Workflow } from "./document";
import { outputOf, type Types } from "./fit";

/** The first input of a node type that takes what an output of it gives; null where there is none. */
export function throughInput(types: Types, type: string, output: string): string | null {
  const known = own(types, type);
  const given = known && outputOf(known, output);
  if (!known || !given) return null;
  const input = known.inputs.find((one) => one.types.some((kind) => kind === given.type || given.bases.includes(kind)));
  return input?.name ?? null;
}

/** The workflow as a run sees it, without its bypassed nodes; the workflow itself where there are none. */
export function withoutBypassed(workflow: Workflow, types: Types): Workflow {
  const all = Object.entries(workflow.nodes);
  if (!all.some(([, spec]) => spec.bypassed)) return workflow;
  const nodes: { [id: string]: NodeSpec } = {};
  for (const [id, spec] of all) if (!spec.bypassed) nodes[id] = { ...spec, links: joined(spec, workflow, types) };
  const kept = Object.entries(workflow.layout).filter(([id]) => Object.hasOwn(nodes, id));
  return { ...workflow, nodes, layout: Object.fromEntries(kept) };
}

function joined(spec: NodeSpec, workflow: Workflow, types: Types): Links {
  const links = mapEntries(spec.links, (there) => {
    const found = asList(there).flatMap((one) => sources(one, workflow, types));
    return Array.isArray(there) ? found : found.slice(0, 1);
  });
  const left = Object.entries(links).filter(([, found]) => found.length);
  return Object.fromEntries(left.map(([input, found]) => [input, Array.isArray(spec.links[input]) ? found : found[0]!]));
}

function sources(link: Link, workflow: Workflow, types: Types): Link[] {
  const found: Link[] = [];
  const seen = new Set<string>();
  const waiting = [link];
  for (let one = waiting.pop(); one; one = waiting.pop()) {
    const spec = own(workflow.nodes, one.node);
    const key = `${one.node} ${one.output}`;
    if (!spec?.bypassed) found.push(one);
    else if (!seen.has(key)) {
      seen.add(key);
      const input = throughInput(types, spec.type, one.output);
      if (input !== null) waiting.push(...asList(own(spec.links, input)).toReversed());
    }
  }
  return found;
}
