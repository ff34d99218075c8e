// Copy, paste and duplicate. What is copied is itself a workflow, so it can be pasted anywhere that takes one.
import { movedBends } from "./bends";
import { asList, dumpWorkflow, emptyWorkflow, own, parseWorkflow, type Workflow } from "./document";
import { keepLinks, type FrameKind, type Point } from "./edit";
import { freshId } from "./names";
import { joined, usedBy } from "./subgraph";

export interface Selection {
  nodes: ReadonlySet<string>;
  groups: ReadonlySet<number>;
  notes: ReadonlySet<number>;
}

/** The selected part of a workflow; links that enter it from outside are kept, so that a paste can find them again. */
export function extract(workflow: Workflow, selection: Selection): Workflow {
  const pick = <T>(map: { [id: string]: T }) =>
    Object.fromEntries(Object.entries(map).filter(([id]) => selection.nodes.has(id)));
  const frames = (kind: FrameKind) => workflow[kind].filter((_, index) => selection[kind].has(index));
  const nodes = pick(workflow.nodes);
  return {
    ...emptyWorkflow(), nodes, layout: pick(workflow.layout), groups: frames("groups"), notes: frames("notes"),
    bends: workflow.bends.filter((one) => selection.nodes.has(one.node) && selection.nodes.has(one.link.node)),
    subgraphs: usedBy(nodes, workflow.subgraphs),
  };
}

export const copy = (workflow: Workflow, selection: Selection): string => dumpWorkflow(extract(workflow, selection));

export interface Pasted {
  workflow: Workflow;
  nodes: string[];
  groups: number[];
  notes: number[];
}

/** Put a part into a workflow under fresh names. A link from outside stays where its source is there to give it. */
export function insert(workflow: Workflow, given: Workflow, offset: Point): Pasted {
  const part = joined(given, workflow.subgraphs);
  const names = new Map<string, string>();
  const taken = new Set<string>();
  for (const id of Object.keys(part.nodes)) {
    const name = freshId(workflow, id, taken);
    names.set(id, name);
    taken.add(name);
  }
  const nodes = { ...workflow.nodes };
  const layout = { ...workflow.layout };
  for (const [id, spec] of Object.entries(part.nodes)) {
    const name = names.get(id)!;
    const kept = keepLinks(spec, (link) => names.has(link.node) || Object.hasOwn(workflow.nodes, link.node));
    const links = Object.fromEntries(
      Object.entries(kept.links).map(([input, there]) => {
        const renamed = asList(there).map((one) => ({ node: names.get(one.node) ?? one.node, output: one.output }));
        return [input, Array.isArray(there) ? renamed : renamed[0]!];
      }),
    );
    nodes[name] = { ...kept, links };
    const place = own(part.layout, id) ?? { x: 0, y: 0, width: null, collapsed: false };
    layout[name] = { ...place, x: Math.round(place.x + offset.x), y: Math.round(place.y + offset.y) };
  }
  const frames = (kind: FrameKind) => [
    ...workflow[kind],
    ...part[kind].map((frame) => ({ ...frame, x: frame.x + offset.x, y: frame.y + offset.y })),
  ];
  const added = (kind: FrameKind) => part[kind].map((_, index) => workflow[kind].length + index);
  return {
    workflow: {
      ...workflow, nodes, layout, groups: frames("groups"), notes: frames("notes"), subgraphs: part.subgraphs,
      bends: [...workflow.bends, ...movedBends(part.bends, offset, (id) => names.get(id) ?? id)],
    },
    nodes: [...names.values()], groups: added("groups"), notes: added("notes"),
  };
}

/** Paste a copied text. Throws DocumentError where it is no workflow. */
export const paste = (workflow: Workflow, text: string, offset: Point): Pasted =>
  insert(workflow, parseWorkflow(text), offset);

export const duplicate = (workflow: Workflow, selection: Selection, offset: Point = { x: 40, y: 40 }): Pasted =>
  insert(workflow, extract(workflow, selection), offset);
