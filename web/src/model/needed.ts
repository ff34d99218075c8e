// The part of a document that one output needs: what can be run though the rest is not finished yet.
import { asList, type NodeSpec, type Subgraph, type Workflow } from "./document";
import { addNode, link } from "./edit";
import { freshId } from "./names";
import { definitionAt, PREFIX, viewOf, type Nodes } from "./subgraph";

/** A node that is given an output, by its type, the input that takes it, and its values. */
export interface Taker {
  type: string;
  input: string;
  values: NodeSpec["values"];
}

/**
 * A document with what an output in view needs and nothing else, and a node that takes it. `path` are the uses of
 * subgraphs that lead to the view; `target` is the taker's id in the whole document. Keys stay what they were, so
 * results that are there already are found.
 */
export function neededFor(root: Workflow, path: readonly string[], from: { node: string; output: string }, taker: Taker): { workflow: Workflow; target: string } {
  const view = viewOf(root, path);
  const id = freshId(view, "needed");
  let holding = addNode({ ...view, nodes: upstream(view.nodes, from.node) }, id, taker.type, { x: 0, y: 0 });
  holding = link(holding, from, { node: id, input: taker.input }, false);
  let nodes: Nodes = { ...holding.nodes, [id]: { ...holding.nodes[id]!, values: taker.values } };
  const subgraphs = { ...root.subgraphs };
  // From the inside out: the definition as this one use needs it, under a name of its own, since others may use the whole.
  for (let depth = path.length; depth > 0; depth -= 1) {
    const before = root.subgraphs[definitionAt(root, path.slice(0, depth))!]!;
    const inputs: Subgraph["inputs"] = {};
    for (const [port, all] of Object.entries(before.inputs)) {
      const kept = all.filter((one) => Object.hasOwn(nodes, one.node));
      if (kept.length) inputs[port] = kept;
    }
    const name = unused(subgraphs);
    subgraphs[name] = { ...before, nodes, inputs, outputs: {}, layout: {}, groups: [], notes: [], bends: [] };
    const use = path[depth - 1]!;
    const outer = viewOf(root, path.slice(0, depth - 1)).nodes;
    const given = <T>(all: { [input: string]: T }) => Object.fromEntries(Object.entries(all).filter(([input]) => Object.hasOwn(inputs, input)));
    const spec = { ...outer[use]!, type: PREFIX + name, values: given(outer[use]!.values), links: given(outer[use]!.links) };
    nodes = upstream({ ...outer, [use]: spec }, use);
  }
  return { workflow: { ...root, nodes, subgraphs, layout: {}, groups: [], notes: [], bends: [] }, target: [...path, id].join("/") };
}

/** A node and all that it needs. */
function upstream(nodes: Nodes, id: string): Nodes {
  const found = new Set<string>();
  const waiting = [id];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (found.has(next) || !Object.hasOwn(nodes, next)) continue;
    found.add(next);
    waiting.push(...Object.values(nodes[next]!.links).flatMap(asList).map((one) => one.node));
  }
  return Object.fromEntries(Object.entries(nodes).filter(([one]) => found.has(one)));
}

function unused(names: object): string {
  let number = 1;
  while (Object.hasOwn(names, `needed_${number}`)) number += 1;
  return `needed_${number}`;
}
