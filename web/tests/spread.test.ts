import fc from "fast-check";
import { expect, test } from "vitest";
import { emptyWorkflow, type Workflow } from "../src/model/document";
import { addFrame, addNode, type Point } from "../src/model/edit";
import { spread } from "../src/model/spread";

const SIZE = { width: 232, height: 300 };
const at = (places: { [id: string]: Point }): Workflow =>
  Object.entries(places).reduce((workflow, [id, place]) => addNode(workflow, id, "Any", place), emptyWorkflow());
const placesOf = (workflow: Workflow) => Object.fromEntries(Object.entries(workflow.layout).map(([id, { x, y }]) => [id, [x, y]]));

test("what has room stays where it is, to the pixel", () => {
  const workflow = at({ a: { x: 0, y: 0 }, b: { x: 300, y: 10 }, c: { x: 0, y: 330 }, d: { x: 900, y: -50 } });
  expect(spread(workflow, () => SIZE)).toEqual(workflow);
});

test("columns stay columns, and what is below stays below", () => {
  const workflow = at({ model: { x: 0, y: 0 }, low: { x: 4, y: 100 }, next: { x: 200, y: 0 }, last: { x: 420, y: 20 }, far: { x: 420, y: 900 } });
  expect(placesOf(spread(workflow, () => SIZE))).toEqual({
    model: [0, 0], low: [4, 324], next: [260, 0], last: [516, 20], far: [516, 900],
  });
});

test("groups keep their margins around what they hold, and notes move too", () => {
  let workflow = at({ a: { x: 20, y: 40 }, b: { x: 20, y: 120 } });
  workflow = addFrame(workflow, "groups", { x: 0, y: 0, width: 272, height: 240, text: "Both", color: null });
  workflow = addFrame(workflow, "notes", { x: 20, y: 200, width: 200, height: 100, text: "below", color: null });
  const next = spread(workflow, () => SIZE);
  expect(placesOf(next)).toEqual({ a: [20, 40], b: [20, 364] });
  expect(next.notes[0]).toMatchObject({ x: 20, y: 688 });
  expect(next.groups[0]).toMatchObject({ x: 0, y: 0, width: 276, height: 812 });
});

test("any arrangement comes to lie without overlaps, and nothing goes left or up", () => {
  const place = fc.record({ x: fc.integer({ min: -900, max: 900 }), y: fc.integer({ min: -900, max: 900 }) });
  fc.assert(fc.property(fc.array(fc.tuple(place, fc.integer({ min: 30, max: 700 })), { maxLength: 30 }), (all) => {
    const workflow = at(Object.fromEntries(all.map(([one], index) => [`n${index}`, one])));
    const sizeOf = (id: string) => ({ width: 232, height: all[Number(id.slice(1))]![1] });
    const next = spread(workflow, sizeOf);
    const boxes = Object.entries(next.layout).map(([id, { x, y }]) => ({ x, y, ...sizeOf(id), old: workflow.layout[id]! }));
    for (const [index, one] of boxes.entries()) {
      expect(one.x).toBeGreaterThanOrEqual(one.old.x);
      expect(one.y).toBeGreaterThanOrEqual(one.old.y);
      for (const other of boxes.slice(0, index)) {
        const apart = one.x >= other.x + other.width || other.x >= one.x + one.width || one.y >= other.y + other.height || other.y >= one.y + one.height;
        expect(apart).toBe(true);
      }
    }
  }), { seed: 7 });
});

test("thousands on one spot are told apart soon", () => {
  const workflow = at({});
  for (let index = 0; index < 2000; index += 1) {
    workflow.nodes[`n${index}`] = { type: "Any", values: {}, links: {}, title: "", bypassed: false, muted: false };
    workflow.layout[`n${index}`] = { x: 0, y: 0, width: null, collapsed: false };
  }
  expect(new Set(Object.values(spread(workflow, () => SIZE).layout).map(({ y }) => y)).size).toBe(2000);
});
