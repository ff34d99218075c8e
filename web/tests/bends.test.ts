import fc from "fast-check";
import { expect, test } from "vitest";
import { pathThrough } from "../src/canvas/bent";
import { addPoint, lead, movePoint, pointsOf, removePoint, withoutLost } from "../src/model/bends";
import { copy, duplicate, insert } from "../src/model/clip";
import { dumpWorkflow, emptyWorkflow, parseWorkflow } from "../src/model/document";
import { addNode, dissolveNode, link, moveNodes, relink, removeNodes, renameNode, unlink } from "../src/model/edit";
import { foldNodes, unfoldNode } from "../src/model/folding";
import { viewOf, withView } from "../src/model/subgraph";

const ENDS = { from: { node: "a", output: "value" }, to: { node: "b", input: "value" } };
function sample() {
  let workflow = ["a", "b", "c"].reduce((next, id, index) => addNode(next, id, "Number", { x: 300 * index, y: 0 }), emptyWorkflow());
  workflow = link(workflow, ENDS.from, ENDS.to, false);
  return lead(workflow, ENDS, [{ x: 100, y: 50 }, { x: 200, y: 60 }]);
}

test("points are added, moved and taken away, in whole pixels", () => {
  let workflow = addPoint(sample(), ENDS, 1, { x: 150.4, y: 55 });
  expect(pointsOf(workflow, ENDS)).toEqual([{ x: 100, y: 50 }, { x: 150, y: 55 }, { x: 200, y: 60 }]);
  workflow = movePoint(workflow, ENDS, 0, { x: 1, y: 2 });
  workflow = removePoint(removePoint(workflow, ENDS, 2), ENDS, 1);
  expect(pointsOf(workflow, ENDS)).toEqual([{ x: 1, y: 2 }]);
  expect(removePoint(workflow, ENDS, 0).bends).toEqual([]);
  expect(parseWorkflow(dumpWorkflow(workflow)).bends).toEqual(workflow.bends);
});

test("they are read with care", () => {
  const text = dumpWorkflow(sample());
  for (const [from, to] of [['"x": 100,', '"x": "100",'], ['"y": 50', '"y": 50, "z": 1'], ['"input": "value",\n      "link"', '"input": 3,\n      "link"']] as const) {
    expect(text).toContain(from);
    expect(() => parseWorkflow(text.replace(from, to))).toThrow("bends > 0");
  }
  expect(() => parseWorkflow(text.replace(/"points": \[[\s\S]*?\]/, '"points": []'))).toThrow("from 1 to 100 points");
});

test("they go with their link: to other ends, other names and other places, and with it they go away", () => {
  const workflow = sample();
  const to = { node: "c", input: "value" };
  expect(pointsOf(relink(workflow, ENDS, { from: ENDS.from, to }, false), { from: ENDS.from, to })).toHaveLength(2);
  expect(relink(workflow, ENDS, { from: ENDS.from, to }, false).bends).toHaveLength(1);
  expect(pointsOf(renameNode(workflow, "a", "z"), { ...ENDS, from: { node: "z", output: "value" } })).toHaveLength(2);
  const both = moveNodes(workflow, new Map([["a", { x: 10, y: 5 }], ["b", { x: 310, y: 5 }]]));
  expect(pointsOf(both, ENDS)[0]).toEqual({ x: 110, y: 55 });
  expect(pointsOf(moveNodes(workflow, new Map([["a", { x: 10, y: 5 }]])), ENDS)[0]).toEqual({ x: 100, y: 50 });
  expect(withoutLost(workflow)).toBe(workflow);
  expect(withoutLost(unlink(workflow, ENDS.from, ENDS.to)).bends).toEqual([]);
  expect(withoutLost(removeNodes(workflow, new Set(["a"]))).bends).toEqual([]);
});

test("where a node is taken out from between, the joined link goes by the points of both", () => {
  const next = { from: { node: "b", output: "value" }, to: { node: "c", input: "value" } };
  const both = lead(link(sample(), next.from, next.to, false), next, [{ x: 500, y: 70 }]);
  const joined = { from: ENDS.from, to: next.to };
  const left = withoutLost(dissolveNode(both, "b", () => "value"));
  expect(pointsOf(left, joined)).toEqual([{ x: 100, y: 50 }, { x: 200, y: 60 }, { x: 500, y: 70 }]);
  expect(left.bends).toHaveLength(1);
  const many = Array.from({ length: 90 }, (_, x) => ({ x, y: 0 }));
  expect(pointsOf(dissolveNode(lead(lead(both, ENDS, many), next, many), "b", () => "value"), joined)).toHaveLength(100);
  expect(withoutLost(dissolveNode(both, "b", () => null)).bends).toEqual([]);
});

test("they are copied, pasted and put into subgraphs and taken out again", () => {
  const workflow = sample();
  const chosen = { nodes: new Set(["a", "b"]), groups: new Set<number>(), notes: new Set<number>() };
  const pasted = insert(emptyWorkflow(), parseWorkflow(copy(workflow, chosen)), { x: 5, y: 7 }).workflow;
  expect(pointsOf(pasted, ENDS)).toEqual([{ x: 105, y: 57 }, { x: 205, y: 67 }]);
  expect(duplicate(workflow, chosen).workflow.bends.map((one) => one.node)).toEqual(["b", "b_2"]);
  expect(insert(emptyWorkflow(), parseWorkflow(copy(workflow, { ...chosen, nodes: new Set(["b"]) })), { x: 0, y: 0 }).workflow.bends).toEqual([]);
  const folded = foldNodes(workflow, chosen.nodes, "Part");
  expect(withoutLost(folded.workflow).bends).toEqual([]);
  const inner = viewOf(folded.workflow, [folded.id]);
  expect(pointsOf(inner, ENDS)).toHaveLength(2);
  const edited = withView(folded.workflow, [folded.id], movePoint(inner, ENDS, 0, { x: 0, y: 0 }));
  expect(edited.subgraphs["Part"]!.bends[0]!.points[0]).toEqual({ x: 0, y: 0 });
  expect(parseWorkflow(dumpWorkflow(edited))).toEqual(edited);
  const out = unfoldNode(folded.workflow, folded.id)!.workflow;
  expect(pointsOf(out, ENDS)).toEqual(pointsOf(workflow, ENDS));
});

test("a path passes through every point, and no number of it is lost", () => {
  const place = fc.record({ x: fc.integer({ min: -999, max: 999 }), y: fc.integer({ min: -999, max: 999 }) });
  fc.assert(fc.property(place, place, fc.array(place, { minLength: 1, maxLength: 8 }), fc.boolean(), (from, to, points, straight) => {
    const path = pathThrough(from, to, points, straight);
    expect(path).not.toMatch(/NaN|Infinity|undefined/);
    const stops = [...path.matchAll(/(-?[\d.]+),(-?[\d.]+)(?=[MLC]|$)/g)].map(([, x, y]) => ({ x: Number(x), y: Number(y) }));
    expect(stops).toEqual([from, ...points, to]);
  }));
});
