// Room between nodes whose arrangement was made for smaller ones: columns stay columns, and what is below stays below.
import type { Size } from "./arrange";
import type { Frame, Workflow } from "./document";
import { moveNodes, type Point } from "./edit";

const GAP = 24;
const BESIDE = 0.6; // of a node's width: what begins farther right than that stands beside it, not below
const MOST = 5000; // nodes: each is compared with all others

interface Box extends Point, Size {
  id: string;
}

/** Move nodes right and down by as little as leaves none on another; groups and notes go with what they hold. */
export function spread(workflow: Workflow, sizeOf: (id: string) => Size): Workflow {
  const ids = Object.keys(workflow.nodes).filter((id) => Object.hasOwn(workflow.layout, id));
  if (ids.length > MOST || workflow.notes.length > MOST) return workflow;
  const before: Box[] = [
    ...ids.map((id) => ({ id, ...pick(workflow.layout[id]!), ...sizeOf(id) })),
    ...workflow.notes.map((note, index) => ({ id: noteId(index), ...pick(note), width: note.width, height: note.height })),
  ];
  const beside = rightwards(before);
  const after = new Map(downwards(beside).map((box) => [box.id, box]));
  const notes = workflow.notes.map((note, index) => ({ ...note, ...whole(after.get(noteId(index))!) }));
  const groups = workflow.groups.map((group) => around(group, before, after));
  const old = new Map(before.map((box) => [box.id, box.x]));
  const shifts = beside.map(({ id, x }) => ({ from: old.get(id)!, by: x - old.get(id)! })).reverse();
  const bends = workflow.bends.map((bend) => ({
    ...bend, points: bend.points.map(({ x, y }) => whole({ x: x + (shifts.find((one) => one.from <= x)?.by ?? 0), y })),
  }));
  return { ...moveNodes({ ...workflow, groups, notes }, new Map(ids.map((id) => [id, after.get(id)!]))), bends };
}

/** How far down a box has to go to lie on no node and no note: its upper edge there. */
export function clearBelow(workflow: Workflow, sizeOf: (id: string) => Size, { x, y, width, height }: Point & Size): number {
  const others = [
    ...Object.entries(workflow.layout).filter(([id]) => Object.hasOwn(workflow.nodes, id)).map(([id, place]) => ({ ...pick(place), ...sizeOf(id) })),
    ...workflow.notes,
  ].filter((other) => meet(x, width, other.x, other.width)).toSorted((one, other) => one.y - other.y);
  // From above to below, so that none has to be looked at again.
  for (const other of others) if (meet(y, height, other.y, other.height)) y = other.y + other.height + GAP;
  return Math.round(y);
}

const noteId = (index: number): string => `:${index}`; // no node can be called that
const pick = ({ x, y }: Point): Point => ({ x, y });
const whole = ({ x, y }: Point): Point => ({ x: Math.round(x), y: Math.round(y) });
const meet = (from: number, length: number, other: number, its: number): boolean => from < other + its + GAP && other < from + length + GAP;

/** Where nodes that stand beside each other overlap, everything from the right one on goes to the right. */
function rightwards(boxes: readonly Box[]): Box[] {
  const sorted = boxes.toSorted((one, other) => one.x - other.x);
  const moved: Box[] = [];
  let shift = 0;
  for (const box of sorted) {
    for (const [index, left] of moved.entries()) {
      const first = sorted[index]!;
      if (box.x - first.x < BESIDE * first.width || !meet(box.y, box.height, first.y, first.height)) continue;
      shift = Math.max(shift, left.x + left.width + GAP - box.x);
    }
    moved.push({ ...box, x: box.x + shift });
  }
  return moved;
}

/** From above to below, each goes down past those that it lies on. */
function downwards(boxes: readonly Box[]): Box[] {
  const placed: Box[] = []; // by their upper edge
  for (const box of boxes.toSorted((one, other) => one.y - other.y || one.x - other.x)) {
    let { y } = box;
    for (const other of placed) {
      if (other.y >= y + box.height + GAP) break;
      if (meet(box.x, box.width, other.x, other.width) && other.y + other.height + GAP > y) y = other.y + other.height + GAP;
    }
    let at = placed.length;
    while (at > 0 && placed[at - 1]!.y > y) at -= 1;
    placed.splice(at, 0, { ...box, y });
  }
  return placed;
}

/** A group with the same margins around what began inside it. */
function around(group: Frame, before: readonly Box[], after: ReadonlyMap<string, Box>): Frame {
  const held = before.filter((box) => box.x >= group.x && box.x < group.x + group.width && box.y >= group.y && box.y < group.y + group.height);
  if (!held.length) return group;
  const now = held.map((box) => after.get(box.id)!);
  const least = (all: readonly Box[], axis: "x" | "y") => all.reduce((low, box) => Math.min(low, box[axis]), Infinity);
  const { x, y } = whole({ x: group.x + least(now, "x") - least(held, "x"), y: group.y + least(now, "y") - least(held, "y") });
  const right = now.reduce((high, box) => Math.max(high, box.x + box.width + GAP), x + group.width);
  const bottom = now.reduce((high, box) => Math.max(high, box.y + box.height + GAP), y + group.height);
  return { ...group, x, y, width: Math.round(right - x), height: Math.round(bottom - y) };
}
