// Where things lie: groups and notes, automatic layout, lining up, moving by keys.
import { arrange, isUnplaced, type Shape } from "../model/arrange";
import { lead, pointsOf } from "../model/bends";
import { throughInput } from "../model/bypass";
import { own, type Workflow } from "../model/document";
import { addFrame, dissolveNode, moveNodes, setBypassed, setMuted, setPlace, type Ends, type FrameKind, type Point } from "../model/edit";
import { guess, WIDTH } from "../model/guess";
import { placeholder } from "../model/placeholder";
import type { App } from "./app.svelte";
import { linkOfEdge } from "./edges";
import { missingFiles } from "./missing";

const SIZE = { width: 232, height: 120 };
// Pixels that a node grows by when it says that a file or its type is not there, or where such files are looked for.
const TOLD = 36;
const TOLD_WHERE = 112;

/** How large the nodes of a workflow that was not drawn yet will be, and where their ports will lie. */
export function shapesOf(app: App, { nodes, layout }: Workflow): (id: string) => Shape {
  return (id) => {
    const spec = nodes[id]!;
    const { width, collapsed } = own(layout, id) ?? { width: null, collapsed: false };
    const type = own(app.types, spec.type);
    const { height, inputs, outputs } = guess(spec, type ?? placeholder(spec, []), collapsed);
    const told = collapsed ? [] : [...missingFiles(app, spec).map((one) => (one.there.length ? TOLD : TOLD_WHERE)), ...(type ? [] : [TOLD])];
    return { width: width ?? WIDTH, height: told.reduce((sum, one) => sum + one, height), inputs, outputs };
  };
}

/** Places for what was written without any, by hand or by a program, so that no node lies on another. */
export function placed(app: App, workflow: Workflow): Workflow {
  if (!isUnplaced(workflow)) return workflow;
  const { places, bends } = arrange(workflow, shapesOf(app, workflow));
  return { ...moveNodes(workflow, places), bends };
}

function boxes(app: App): { id: string; x: number; y: number; width: number; height: number }[] {
  return [...app.tab.chosen.nodes].flatMap((id) => {
    const place = own(app.tab.workflow.layout, id);
    return place ? [{ id, x: place.x, y: place.y, ...(app.canvas?.sizeOf(id) ?? SIZE) }] : [];
  });
}

/** The nodes whose middle lies inside a group. */
export function inside(app: App, group: number): string[] {
  const frame = app.tab.workflow.groups[group];
  if (!frame) return [];
  return Object.entries(app.tab.workflow.layout).filter(([id, place]) => {
    const { width, height } = app.canvas?.sizeOf(id) ?? SIZE;
    const [x, y] = [place.x + width / 2, place.y + height / 2];
    return x > frame.x && x < frame.x + frame.width && y > frame.y && y < frame.y + frame.height;
  }).map(([id]) => id);
}

/** Put a group around the chosen nodes. */
export function group(app: App): void {
  const all = boxes(app);
  if (!all.length) return;
  const x = Math.min(...all.map((box) => box.x)) - 24;
  const y = Math.min(...all.map((box) => box.y)) - 52;
  const width = Math.round(Math.max(...all.map((box) => box.x + box.width)) + 24 - x);
  const height = Math.round(Math.max(...all.map((box) => box.y + box.height)) + 24 - y);
  app.tab.edit(addFrame(app.tab.workflow, "groups", { x, y, width, height, text: "", color: null }), "edit.group");
  begin(app, "groups");
}

/** Choose the frame that was just added, and have its text written. */
function begin(app: App, kind: FrameKind): void {
  const index = app.tab.workflow[kind].length - 1;
  app.tab.choose({ [kind]: new Set([index]) });
  app.writing = `${kind}:${index}`;
}

export function note(app: App, at: Point | null = null): void {
  const { x, y } = at ?? app.canvas?.middle() ?? { x: 0, y: 0 };
  const frame = { x: Math.round(x), y: Math.round(y), width: 220, height: 120, text: "", color: null };
  app.tab.edit(addFrame(app.tab.workflow, "notes", frame), "edit.note");
  begin(app, "notes");
}

/** Lay out the chosen nodes, or all where fewer than two are chosen. */
export function tidy(app: App): void {
  const { tab, canvas } = app;
  const ids = tab.chosen.nodes.size > 1 ? tab.chosen.nodes : new Set<string>();
  const shapeOf = shapesOf(app, tab.workflow);
  const measured = (id: string) => ({ ...shapeOf(id), ...canvas?.sizeOf(id) });
  const { places, bends } = arrange(tab.workflow, measured, ids);
  const laid = moveNodes(tab.workflow, places);
  // Points were where the nodes had been.
  const kept = laid.bends.filter((one) => ids.size > 0 && !ids.has(one.node) && !ids.has(one.link.node));
  const next = [...kept, ...bends];
  tab.edit(JSON.stringify(next) === JSON.stringify(laid.bends) ? laid : { ...laid, bends: next }, "edit.tidy");
  if (!ids.size) requestAnimationFrame(() => canvas?.fit());
}

export function fold(app: App): void {
  const ids = [...app.tab.chosen.nodes];
  const collapsed = !ids.every((id) => own(app.tab.workflow.layout, id)?.collapsed);
  app.tab.edit(ids.reduce((next, id) => setPlace(next, id, { collapsed }), app.tab.workflow), "edit.collapse");
}

/** Bypass the chosen nodes, or take them in again where all of them are. */
export function bypass(app: App): void {
  const ids = [...app.tab.chosen.nodes];
  const all = ids.every((id) => own(app.tab.workflow.nodes, id)?.bypassed);
  app.tab.edit(setBypassed(app.tab.workflow, ids, !all), "edit.bypass");
}

/** Mute the chosen nodes, or take them in again where all of them are muted. */
export function mute(app: App): void {
  const ids = [...app.tab.chosen.nodes];
  const all = ids.every((id) => own(app.tab.workflow.nodes, id)?.muted);
  app.tab.edit(setMuted(app.tab.workflow, ids, !all), "edit.mute");
}

/** Remove the chosen nodes and join what they passed on. */
export function dissolve(app: App): void {
  let next = app.tab.workflow;
  for (const id of app.tab.chosen.nodes) {
    const type = own(next.nodes, id)?.type ?? "";
    next = dissolveNode(next, id, (output) => throughInput(app.types, type, output));
  }
  app.tab.edit(next, "edit.dissolve");
  app.tab.choose({});
}

export function nudge(app: App, x: number, y: number): void {
  const places = new Map(boxes(app).map((box) => [box.id, { x: box.x + x, y: box.y + y }]));
  app.tab.edit(moveNodes(app.tab.workflow, places), "edit.move", "nudge");
}

/** Move the chosen nodes to one line, or make the gaps between them equal. */
export function align(app: App, axis: "x" | "y", how: "start" | "even"): void {
  const size = axis === "x" ? "width" : "height";
  const all = boxes(app).sort((a, b) => a[axis] - b[axis]);
  const [first, last] = [all[0], all.at(-1)];
  if (!first || !last || all.length < 2) return;
  const total = all.reduce((sum, box) => sum + box[size], 0);
  const gap = (last[axis] + last[size] - first[axis] - total) / (all.length - 1);
  let at = first[axis];
  const places = new Map<string, Point>();
  for (const box of all) {
    places.set(box.id, { x: box.x, y: box.y, [axis]: how === "start" ? first[axis] : at });
    at += box[size] + gap;
  }
  app.tab.edit(moveNodes(app.tab.workflow, places), "edit.align");
}

/** The chosen links that are led through points. */
export const bent = ({ tab }: App): Ends[] => [...tab.chosen.edges].map(linkOfEdge).filter((ends) => pointsOf(tab.workflow, ends).length);

/** Take the points of the chosen links away. */
export function straighten(app: App): void {
  app.tab.edit(bent(app).reduce((next, ends) => lead(next, ends, []), app.tab.workflow), "edit.unbend");
}
