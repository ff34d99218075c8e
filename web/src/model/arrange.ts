// Automatic layout: left to right along the links.
import { graphlib, layout } from "@dagrejs/dagre";
import { asList, type Workflow } from "./document";
import type { Point } from "./edit";

export interface Size {
  width: number;
  height: number;
}

/** Where each of the given nodes (all where none is given) goes, the upper left corner staying where it was. */
export function arrange(workflow: Workflow, sizeOf: (id: string) => Size, ids: ReadonlySet<string> = new Set()): Map<string, Point> {
  const chosen = Object.keys(workflow.nodes).filter((id) => ids.size === 0 || ids.has(id));
  const graph = new graphlib.Graph();
  graph.setGraph({ rankdir: "LR", nodesep: 32, ranksep: 72, marginx: 0, marginy: 0 });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const id of chosen) graph.setNode(id, { ...sizeOf(id) });
  for (const id of chosen) {
    for (const links of Object.values(workflow.nodes[id]!.links)) {
      for (const link of asList(links)) if (graph.hasNode(link.node)) graph.setEdge(link.node, id);
    }
  }
  layout(graph);
  const corner = (axis: "x" | "y") => {
    const places = chosen.map((id) => workflow.layout[id]?.[axis] ?? 0);
    return places.reduce((least, place) => Math.min(least, place), places[0] ?? 0);
  };
  const [left, top] = [corner("x"), corner("y")];
  return new Map(
    chosen.map((id) => {
      const { x, y, width, height } = graph.node(id) as Point & Size;
      return [id, { x: Math.round(left + x - width / 2), y: Math.round(top + y - height / 2) }];
    }),
  );
}

/** Whether a document tells no places, as one that was written by hand. */
export const isUnplaced = (workflow: Workflow): boolean =>
  Object.keys(workflow.layout).length < Object.keys(workflow.nodes).length;
