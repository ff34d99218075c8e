// Automatic layout: left to right along the links, and what an upper input reads above what a lower one reads. A link that
// would run behind nodes is led past them.
import { graphlib, layout } from "@dagrejs/dagre";
import { asList, type Bend, type Link, type Workflow } from "./document";
import type { Point } from "./edit";

export interface Size {
  width: number;
  height: number;
}

/** How large a node is, and where its ports lie, from its upper edge on. */
export interface Shape extends Size {
  inputs: ReadonlyMap<string, number>;
  outputs: ReadonlyMap<string, number>;
}

/** Where nodes go, and the points that links between them are led through. */
export interface Arrangement {
  places: Map<string, Point>;
  bends: Bend[];
}

type Laid = Point & Size; // by its middle
interface Line {
  from: Link;
  to: { node: string; input: string };
}

const GAP = { nodesep: 32, edgesep: 24, ranksep: 72 };
const CLEAR = 4; // pixels between a node and a link that does not run behind it
const SAMPLES = 24; // places of a link that are looked at

/** An arrangement of the given nodes (all where none is given), the upper left corner staying where it was. */
export function arrange(workflow: Workflow, shapeOf: (id: string) => Shape, ids: ReadonlySet<string> = new Set()): Arrangement {
  const chosen = Object.keys(workflow.nodes).filter((id) => ids.size === 0 || ids.has(id));
  const shapes = new Map(chosen.map((id) => [id, shapeOf(id)]));
  const lines = chosen.flatMap((id) => linesTo(workflow, id, shapes));
  const graph = new graphlib.Graph();
  graph.setGraph({ rankdir: "LR", marginx: 0, marginy: 0, ...GAP });
  graph.setDefaultEdgeLabel(() => ({}));
  // The library keeps nodes in plain objects, in which names such as `constructor` are there from the beginning.
  const names = new Map(chosen.map((id, index) => [id, `node ${index}`]));
  const named = (id: string) => names.get(id)!;
  for (const [id, { width, height }] of shapes) graph.setNode(named(id), { width, height });
  for (const { from, to } of lines) graph.setEdge(named(from.node), named(to.node));
  layout(graph, { constraints: orders(chosen, lines).map(({ left: one, right }) => ({ left: named(one), right: named(right) })) });
  const corner = (axis: "x" | "y") => {
    const places = chosen.map((id) => workflow.layout[id]?.[axis] ?? 0);
    return places.reduce((least, place) => Math.min(least, place), places[0] ?? 0);
  };
  const [left, top] = [corner("x"), corner("y")];
  const moved = ({ x, y }: Point): Point => ({ x: Math.round(left + x), y: Math.round(top + y) });
  const laid = new Map(chosen.map((id) => [id, graph.node(named(id)) as Laid]));
  const bends = lines.flatMap((line): Bend[] => {
    const way = (graph.edge(named(line.from.node), named(line.to.node)) as { points: Point[] }).points;
    const points = around(line, laid, shapes, way);
    return points.length ? [{ ...line.to, link: line.from, points: points.map(moved) }] : [];
  });
  return { places: new Map([...laid].map(([id, { x, y, width, height }]) => [id, moved({ x: x - width / 2, y: y - height / 2 })])), bends };
}

/** The links to a node from those that are laid out, from its upper input to its lowest. */
function linesTo(workflow: Workflow, id: string, shapes: ReadonlyMap<string, Shape>): Line[] {
  const { inputs } = shapes.get(id)!;
  const height = ([input]: [string, unknown]) => inputs.get(input) ?? Infinity;
  return Object.entries(workflow.nodes[id]!.links).sort((one, other) => height(one) - height(other)).flatMap(([input, there]) => (
    asList(there).filter((link) => shapes.has(link.node)).map((from) => ({ from, to: { node: id, input } }))
  ));
}

/** Which of two nodes that one node reads is to stand above the other. All of it agrees with one order of all nodes. */
function orders(ids: readonly string[], lines: readonly Line[]): { left: string; right: string }[] {
  const read = new Map<string, string[]>();
  const isRead = new Set<string>();
  for (const { from, to } of lines) {
    read.set(to.node, [...(read.get(to.node) ?? []), from.node]);
    isRead.add(from.node);
  }
  const seen = new Map<string, number>();
  const waiting = ids.filter((id) => !isRead.has(id)).reverse();
  for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) {
    if (seen.has(id)) continue;
    seen.set(id, seen.size);
    waiting.push(...(read.get(id) ?? []).toReversed());
  }
  return [...read.values()].flatMap((sources) => {
    const sorted = [...new Set(sources)].sort((one, other) => (seen.get(one) ?? 0) - (seen.get(other) ?? 0));
    return sorted.slice(1).map((right, index) => ({ left: sorted[index]!, right }));
  });
}

/** The points that lead a link past the nodes it would run behind, by the way that was kept free for it; none where it runs free. */
function around({ from, to }: Line, laid: ReadonlyMap<string, Laid>, shapes: ReadonlyMap<string, Shape>, way: readonly Point[]): Point[] {
  const [one, other] = [laid.get(from.node)!, laid.get(to.node)!];
  const port = (box: Laid, at: number | undefined) => box.y - box.height / 2 + (at ?? box.height / 2);
  const start = { x: one.x + one.width / 2, y: port(one, shapes.get(from.node)!.outputs.get(from.output)) };
  const end = { x: other.x - other.width / 2, y: port(other, shapes.get(to.node)!.inputs.get(to.input)) };
  const between = [...laid.values()].filter((box) => box.x > start.x && box.x < end.x);
  const isBehind = ({ x, y }: Point) => between.some((box) => (
    Math.abs(x - box.x) < box.width / 2 + CLEAR && Math.abs(y - box.y) < box.height / 2 + CLEAR
  ));
  const curve = Array.from({ length: SAMPLES }, (_, index) => {
    const t = (index + 1) / (SAMPLES + 1);
    const late = t * t * (3 - 2 * t); // a curve that leaves and arrives level
    return { x: start.x + (end.x - start.x) * (1.5 * t - 1.5 * t * t + t ** 3), y: start.y + (end.y - start.y) * late };
  });
  if (!curve.some(isBehind)) return [];
  const widths = new Map<number, number>();
  for (const { x, width } of between) widths.set(Math.round(x), Math.max(width, widths.get(Math.round(x)) ?? 0));
  const points = way.flatMap(({ x, y }) => {
    const width = widths.get(Math.round(x));
    return width === undefined ? [] : [{ x: x - width / 2, y }, { x: x + width / 2, y }];
  });
  return points.filter(({ y }, index) => points[index - 1]?.y !== y || points[index + 1]?.y !== y); // of a level way, its ends
}

/** Whether a document tells no places, as one that was written by hand. */
export const isUnplaced = (workflow: Workflow): boolean =>
  Object.keys(workflow.layout).length < Object.keys(workflow.nodes).length;
