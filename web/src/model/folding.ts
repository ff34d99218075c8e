// Nodes put into a subgraph, and the nodes of a subgraph put back in the place of a use of it.
import { asList, own, type InnerInput, type Link, type Links, type NodeSpec, type Subgraph, type Workflow } from "./document";
import { movedBends } from "./bends";
import { keepLinks, removeNodes, type Point } from "./edit";
import { freshId, snakeCase } from "./names";
import { free, PREFIX, subgraphOf, type Nodes } from "./subgraph";

export interface Folded {
  workflow: Workflow;
  id: string;
}

/** Put nodes into a new subgraph, and a use of it in their place: a port for each link that goes in or out. */
export function foldNodes(workflow: Workflow, ids: ReadonlySet<string>, wish: string): Folded {
  const name = free(wish, workflow.subgraphs);
  const inputs: Subgraph["inputs"] = {};
  const outputs: Subgraph["outputs"] = {};
  const given: Links = {};
  const byLink = new Map<string, string>();
  const enter = (from: Link, to: InnerInput) => {
    const key = to.at === null ? `${from.node} ${from.output}` : null;
    const known = key === null ? undefined : byLink.get(key);
    const port = known ?? free(to.input, inputs);
    if (key !== null) byLink.set(key, port);
    inputs[port] = [...(inputs[port] ?? []), to];
    given[port] = from;
  };
  const nodes: Nodes = {};
  for (const [id, spec] of Object.entries(workflow.nodes)) {
    if (!ids.has(id)) continue;
    for (const [input, there] of Object.entries(spec.links)) {
      asList(there).forEach((from, place) => {
        if (!ids.has(from.node)) enter(from, { node: id, input, at: Array.isArray(there) ? place : null });
      });
    }
    nodes[id] = keepLinks(spec, (link) => ids.has(link.node));
  }
  const use = freshId(removeNodes(workflow, ids), snakeCase(name));
  const left = (from: Link): Link => {
    if (!ids.has(from.node)) return from;
    const there = Object.entries(outputs).find(([, one]) => one.node === from.node && one.output === from.output);
    const port = there?.[0] ?? free(from.output, outputs);
    outputs[port] = { node: from.node, output: from.output };
    return { node: use, output: port };
  };
  const rest: Nodes = {};
  for (const [id, spec] of Object.entries(workflow.nodes)) {
    if (!ids.has(id)) rest[id] = relinked(spec, (from) => [left(from)]);
    else if (!Object.hasOwn(rest, use)) rest[use] = { type: PREFIX + name, values: {}, links: given, title: "", bypassed: false, muted: false };
  }
  const placed = (isInside: boolean) => Object.fromEntries(Object.entries(workflow.layout).filter(([id]) => ids.has(id) === isInside));
  const [inside, outside] = [placed(true), placed(false)];
  const { x, y } = corner(inside);
  const definition = { description: "", nodes, inputs, outputs, layout: inside, groups: [], notes: [], bends: workflow.bends.filter((one) => ids.has(one.node) && ids.has(one.link.node)) };
  return {
    workflow: {
      ...workflow, nodes: rest, subgraphs: { ...workflow.subgraphs, [name]: definition },
      layout: { ...outside, [use]: { x, y, width: null, collapsed: false } },
    },
    id: use,
  };
}

const relinked = (spec: NodeSpec, change: (link: Link) => Link[]): NodeSpec => {
  const links: Links = {};
  for (const [input, there] of Object.entries(spec.links)) {
    const next = asList(there).flatMap(change);
    if (Array.isArray(there) ? next.length : next[0]) links[input] = Array.isArray(there) ? next : next[0]!;
  }
  return { ...spec, links };
};

/** Where a use of a subgraph lies beside the nodes that it stands for: on the last of them, whose place is free. */
function corner(layout: Workflow["layout"]): Point {
  const [first, ...others] = Object.values(layout);
  return others.reduce((last, one) => (one.x > last.x || (one.x === last.x && one.y < last.y) ? one : last), first ?? { x: 0, y: 0 });
}

/** Put the nodes of a subgraph in the place of one use of it; the definition goes with its last use. */
export function unfoldNode(workflow: Workflow, use: string): { workflow: Workflow; ids: string[] } | null {
  const spec = own(workflow.nodes, use);
  const name = spec ? subgraphOf(spec) : null;
  const definition = name === null ? undefined : own(workflow.subgraphs, name);
  if (!spec || name === null || !definition) return null;
  const names = new Map<string, string>();
  for (const id of Object.keys(definition.nodes)) names.set(id, freshId(workflow, id, new Set(names.values())));
  const inner: Nodes = {};
  for (const [id, one] of Object.entries(definition.nodes)) {
    const within = relinked(one, (link) => [{ node: names.get(link.node) ?? link.node, output: link.output }]);
    const muted = one.muted || spec.muted;
    inner[id] = { ...within, values: { ...one.values }, muted, bypassed: !muted && (one.bypassed || spec.bypassed) };
  }
  give(spec, definition, inner);
  const out = (link: Link): Link[] => {
    if (link.node !== use) return [link];
    const from = own(definition.outputs, link.output);
    return from ? [{ node: names.get(from.node)!, output: from.output }] : [];
  };
  const nodes: Nodes = {};
  for (const [id, one] of Object.entries(workflow.nodes)) {
    if (id !== use) nodes[id] = relinked(one, out);
    else for (const [old, within] of Object.entries(inner)) nodes[names.get(old)!] = relinked(within, out);
  }
  const { [use]: place, ...layout } = workflow.layout;
  const from = corner(definition.layout);
  for (const [id, one] of Object.entries(definition.layout)) {
    layout[names.get(id)!] = { ...one, x: one.x - from.x + (place?.x ?? 0), y: one.y - from.y + (place?.y ?? 0) };
  }
  const shift = { x: (place?.x ?? 0) - from.x, y: (place?.y ?? 0) - from.y };
  const bends = [...workflow.bends, ...movedBends(definition.bends, shift, (id) => names.get(id) ?? id)];
  return { workflow: withoutUnused({ ...workflow, nodes, layout, bends }, name), ids: [...names.values()] };
}

/** What a use gives to its inputs, in place of what the inner nodes have. Links with a place go among theirs. */
function give(spec: NodeSpec, definition: Subgraph, inner: Nodes): void {
  const all = Object.entries(definition.inputs).flatMap(([port, targets]) => targets.map((to) => ({ port, to })));
  all.sort((a, b) => (a.to.at ?? -1) - (b.to.at ?? -1));
  for (const { port, to } of all) {
    const node = inner[to.node]!;
    const { [to.input]: _, ...values } = node.values;
    const { [to.input]: links, ...others } = node.links;
    const there = own(spec.links, port);
    if (there && to.at === null) inner[to.node] = { ...node, values, links: { ...others, [to.input]: there } };
    else if (there) inner[to.node] = { ...node, values, links: { ...others, [to.input]: asList(links).toSpliced(to.at!, 0, ...asList(there)) } };
    else if (Object.hasOwn(spec.values, port)) inner[to.node] = { ...node, values: { ...values, [to.input]: spec.values[port]! }, links: others };
  }
}

function withoutUnused(workflow: Workflow, name: string): Workflow {
  const scopes = [workflow.nodes, ...Object.entries(workflow.subgraphs).filter(([one]) => one !== name).map(([, one]) => one.nodes)];
  if (scopes.some((nodes) => Object.values(nodes).some((spec) => spec.type === PREFIX + name))) return workflow;
  const { [name]: _, ...subgraphs } = workflow.subgraphs;
  return { ...workflow, subgraphs };
}
