// The inputs of a workflow that a person changes from run to run: what is written, the pictures it begins from, the seed.
import type { Input } from "../api/generated";
import { asList, own, type NodeSpec, type Workflow } from "./document";
import type { Types } from "./fit";
import { allIds, definitionAt, specAt } from "./subgraph";
import { widgetOf, type Widget } from "./value";

export interface Entry {
  node: string;
  spec: NodeSpec;
  input: Input;
  widget: Widget;
}

const MAIN: readonly Widget["kind"][] = ["text", "file", "seed"];

/**
 * The literals of a workflow that can be changed, as two lists: the main ones (texts, those that only negatives read after
 * the others and empty ones after both, then pictures, then seeds), and the others that the document gives. Those of nodes that take no part in a run are not among them.
 */
export function entriesOf(workflow: Workflow, types: Types): { main: Entry[]; others: Entry[] } {
  const main: Entry[][] = MAIN.map(() => []);
  const others: Entry[] = [];
  for (const [node, spec] of Object.entries(workflow.nodes)) {
    if (spec.bypassed || spec.muted) continue;
    for (const input of own(types, spec.type)?.inputs ?? []) {
      const widget = widgetOf(input);
      if (!widget || Object.hasOwn(spec.links, input.name)) continue;
      const rank = widget.kind === "file" && widget.files !== "images" ? -1 : MAIN.indexOf(widget.kind);
      const given = Object.hasOwn(spec.values, input.name);
      if (rank >= 0 && (given || input.required || widget.kind === "seed")) main[rank]!.push({ node, spec, input, widget });
      else if (given) others.push({ node, spec, input, widget });
    }
  }
  const [positive, negative] = [behind(workflow, "positive"), behind(workflow, "negative")];
  const late = ({ node, spec, input }: Entry) => (
    2 * Number((own(spec.values, input.name) ?? input.default ?? "") === "") + Number(negative.has(node) && !positive.has(node))
  );
  return { main: main.flatMap((all) => all.toSorted((one, other) => late(one) - late(other))), others };
}

/** The nodes that inputs of a name read, by way of others as well. */
function behind(workflow: Workflow, input: string): Set<string> {
  const found = new Set<string>();
  const waiting = Object.values(workflow.nodes).flatMap((spec) => asList(own(spec.links, input)));
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (found.has(next.node)) continue;
    found.add(next.node);
    waiting.push(...Object.values(own(workflow.nodes, next.node)?.links ?? {}).flatMap(asList));
  }
  return found;
}

export interface Variable {
  /** `node.input`, or `use/inner.input` of what is in a subgraph. */
  address: string;
  node: string;
  input: Input;
  widget: Widget;
}

/** Every literal of a document that a grid can change, at any depth; in a subgraph not what a use gives. */
export function variables(root: Workflow, types: Types): Variable[] {
  return allIds(root).flatMap((node) => {
    const spec = specAt(root, node)!;
    return (own(types, spec.type)?.inputs ?? []).flatMap((input) => {
      const widget = widgetOf(input);
      if (!widget || Object.hasOwn(spec.links, input.name) || isGiven(root, node, input.name)) return [];
      return [{ address: `${node}.${input.name}`, node, input, widget }];
    });
  });
}

/** Whether a use of a subgraph gives an inner input its value or link. */
function isGiven(root: Workflow, id: string, input: string): boolean {
  const path = id.split("/");
  let targets = [{ node: path.pop()!, input }];
  while (path.length) {
    const definition = root.subgraphs[definitionAt(root, path)!]!;
    const use = specAt(root, path.join("/"))!;
    const ports = Object.entries(definition.inputs).filter(([, all]) => all.some((one) => targets.some((to) => to.node === one.node && to.input === one.input)));
    if (ports.some(([port]) => Object.hasOwn(use.values, port) || Object.hasOwn(use.links, port))) return true;
    const node = path.pop()!;
    targets = ports.map(([port]) => ({ node, input: port }));
  }
  return false;
}
