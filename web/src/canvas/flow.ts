// The document as Svelte Flow has it. Objects that did not change stay the same, so that only what did is drawn again.
import { Position as Side, type Edge, type Node } from "@xyflow/svelte";
import type { NodeType } from "../api/generated";
import { asList, own, type Frame, type NodeSpec, type Point, type Position, type Workflow } from "../model/document";
import type { FrameKind } from "../model/edit";
import type { Wires } from "../model/fit";
import { edgeId, portId } from "../state/edges";
import type { Chosen } from "../state/tab.svelte";
import { guess, WIDTH } from "../model/guess";
import { lookOf } from "./ports";

export type NodeData = { spec: NodeSpec; collapsed: boolean };
export type FrameData = { kind: FrameKind; index: number; frame: Frame };
export type FlowNode = Node<NodeData, "node"> | Node<FrameData, "groups"> | Node<FrameData, "notes">;
export type FlowEdge = Edge<{ type: string; near: boolean; points: readonly Point[] }>;

const DIRECT: readonly Point[] = [];
const PLACE: Position = { x: 0, y: 0, width: null, collapsed: false };
export const frameId = (kind: FrameKind, index: number): string => `${kind}:${index}`;

/** The frame that an id on the canvas stands for, or null for a node. */
export function frameOf(id: string): { kind: FrameKind; index: number } | null {
  const [kind, index] = id.split(":");
  return index === undefined ? null : { kind: kind as FrameKind, index: Number(index) };
}

/** `typeOf` is given for a large graph: nodes that were never drawn get a size and ports from their types. */
export function flowNodes(
  workflow: Workflow, chosen: Chosen, before: readonly FlowNode[], typeOf: ((id: string, spec: NodeSpec) => NodeType) | null = null,
): FlowNode[] {
  const old = new Map(before.map((node) => [node.id, node]));
  const nodes: FlowNode[] = [];
  for (const kind of ["groups", "notes"] as const) {
    workflow[kind].forEach((frame, index) => {
      nodes.push(frameNode(kind, index, frame, chosen[kind].has(index), old.get(frameId(kind, index))));
    });
  }
  for (const [id, spec] of Object.entries(workflow.nodes)) {
    const place = own(workflow.layout, id) ?? PLACE;
    const there = old.get(id) as Node<NodeData, "node"> | undefined;
    const next = specNode(id, spec, place, chosen.nodes.has(id), there);
    const isGuess = next.measured === undefined || (next.handles !== undefined && next.data !== there?.data);
    nodes.push(typeOf && isGuess ? guessed(next as Node<NodeData, "node">, typeOf(id, spec)) : next);
  }
  return nodes;
}

const PORT = 14;
const guesses = new WeakSet<object>();

function guessed(node: Node<NodeData, "node">, type: NodeType): FlowNode {
  const { spec, collapsed } = node.data;
  const { height, inputs, outputs } = guess(spec, type, collapsed);
  const width = node.width ?? WIDTH;
  const measured = { width, height };
  guesses.add(measured);
  const port = { width: PORT, height: PORT };
  const handles = [
    ...[...inputs].map(([name, at]) => (
      { ...port, id: portId(name), type: "target" as const, position: Side.Left, x: -PORT / 2, y: at - PORT / 2 })),
    ...[...outputs].map(([name, at]) => (
      { ...port, id: portId(name), type: "source" as const, position: Side.Right, x: width - PORT / 2, y: at - PORT / 2 })),
  ];
  return { ...node, measured, handles };
}

/** The nodes as the canvas hands them back: what it has measured is no guess any more. */
export function settled(nodes: FlowNode[]): FlowNode[] {
  const isMeasured = (node: FlowNode) => node.handles !== undefined && node.measured && !guesses.has(node.measured);
  if (!nodes.some(isMeasured)) return nodes;
  return nodes.map((node) => {
    if (!isMeasured(node)) return node;
    const { handles: _, ...rest } = node;
    return rest as FlowNode;
  });
}

function specNode(
  id: string, spec: NodeSpec, place: Position, selected: boolean, old: Node<NodeData, "node"> | undefined,
): FlowNode {
  const width = place.width ?? WIDTH;
  const data = old && old.data.spec === spec && old.data.collapsed === place.collapsed
    ? old.data : { spec, collapsed: place.collapsed };
  const rests = old && old.position.x === place.x && old.position.y === place.y && old.width === width;
  if (rests && old.data === data && Boolean(old.selected) === selected) return old;
  return { ...old, id, type: "node", position: { x: place.x, y: place.y }, width, data, selected };
}

function frameNode(
  kind: FrameKind, index: number, frame: Frame, selected: boolean, old: FlowNode | undefined,
): FlowNode {
  if (old && (old.data as FrameData).frame === frame && Boolean(old.selected) === selected
    && old.position.x === frame.x && old.position.y === frame.y) return old;
  return {
    ...old, id: frameId(kind, index), type: kind, position: { x: frame.x, y: frame.y }, width: frame.width,
    height: frame.height, data: { kind, index, frame }, selected, zIndex: kind === "groups" ? -10 : 0,
    ...(kind === "groups" ? { dragHandle: ".frame-title" } : {}),
  } as FlowNode;
}

export function flowEdges(wires: Wires, workflow: Workflow, chosen: Chosen, style: string, before: readonly FlowEdge[], near: string | null = null): FlowEdge[] {
  const old = new Map(before.map((edge) => [edge.id, edge]));
  const edges: FlowEdge[] = [];
  const bends = new Map(workflow.bends.map((bend) => [edgeId(bend.link, bend), bend.points]));
  for (const [id, spec] of Object.entries(workflow.nodes)) {
    for (const [input, there] of Object.entries(spec.links)) {
      for (const link of asList(there)) {
        if (!Object.hasOwn(workflow.nodes, link.node)) continue;
        const key = edgeId(link, { node: id, input });
        const type = wires.of(link)?.type ?? "";
        const selected = chosen.edges.has(key);
        // What is pointed at, chosen, or ends at a chosen node is drawn above the nodes.
        const isNear = key === near;
        const zIndex = isNear || selected || chosen.nodes.has(id) || chosen.nodes.has(link.node) ? 1 : 0;
        if (style === "hidden" && !zIndex) continue;
        const same = old.get(key);
        const points = bends.get(key) ?? DIRECT;
        if (same && same.data!.type === type && same.data!.near === isNear && same.data!.points === points && same.zIndex === zIndex
          && Boolean(same.selected) === selected && same.type === style) {
          edges.push(same);
          continue;
        }
        const { hue, chroma } = lookOf(type);
        edges.push({
          id: key, source: link.node, sourceHandle: portId(link.output), target: id, targetHandle: portId(input),
          type: style, selected, zIndex, data: { type, near: isNear, points }, interactionWidth: zIndex && !isNear ? 8 : 20, style: `--hue:${hue};--chroma:${chroma}`,
          ariaLabel: `${link.node} ${link.output} → ${id} ${input}`,
        });
      }
    }
  }
  return edges;
}
