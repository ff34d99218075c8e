// Points that links are led through. They are for the eye alone: no run and no key knows of them.
import { asList, own, type Bend, type Point, type Workflow } from "./document";
import { isBendOf, MOST_POINTS, type Ends } from "./edit";

const round = ({ x, y }: Point): Point => ({ x: Math.round(x), y: Math.round(y) });

/** The points of a link, from its output on. */
export const pointsOf = (workflow: Workflow, ends: Ends): readonly Point[] =>
  workflow.bends.find((bend) => isBendOf(bend, ends))?.points ?? [];

/** Lead a link through these points; through none, it is as it was drawn. */
export function lead(workflow: Workflow, ends: Ends, points: readonly Point[]): Workflow {
  const bend: Bend = { ...ends.to, link: { node: ends.from.node, output: ends.from.output }, points: points.slice(0, MOST_POINTS).map(round) };
  const at = workflow.bends.findIndex((one) => isBendOf(one, ends));
  if (at < 0) return points.length ? { ...workflow, bends: [...workflow.bends, bend] } : workflow;
  return { ...workflow, bends: workflow.bends.toSpliced(at, 1, ...(points.length ? [bend] : [])) };
}

export const addPoint = (workflow: Workflow, ends: Ends, index: number, at: Point): Workflow =>
  lead(workflow, ends, pointsOf(workflow, ends).toSpliced(index, 0, at));

export const movePoint = (workflow: Workflow, ends: Ends, index: number, at: Point): Workflow =>
  lead(workflow, ends, pointsOf(workflow, ends).toSpliced(index, 1, at));

export const removePoint = (workflow: Workflow, ends: Ends, index: number): Workflow =>
  lead(workflow, ends, pointsOf(workflow, ends).toSpliced(index, 1));

/** The same points farther on, of nodes by other names. */
export const movedBends = (bends: readonly Bend[], by: Point, name: (id: string) => string): Bend[] =>
  bends.map(({ node, input, link, points }) => ({
    node: name(node), input, link: { node: name(link.node), output: link.output }, points: points.map(({ x, y }) => round({ x: x + by.x, y: y + by.y })),
  }));

/** A workflow without the points of links that are there no more. */
export function withoutLost(workflow: Workflow): Workflow {
  const bends = workflow.bends.filter(({ node, input, link }) => (
    asList(own(own(workflow.nodes, node)?.links ?? {}, input)).some((one) => one.node === link.node && one.output === link.output)
  ));
  return bends.length === workflow.bends.length ? workflow : { ...workflow, bends };
}
