import { expect, test } from "vitest";
import { arrange, type Shape } from "../src/model/arrange";
import { emptyWorkflow, type Workflow } from "../src/model/document";
import { addNode, link } from "../src/model/edit";

const INPUTS = new Map([["first", 50], ["second", 80], ["third", 110]]);
const shapeOf = (): Shape => ({ width: 200, height: 200, inputs: INPUTS, outputs: new Map([["out", 50]]) });

/** A workflow of links `from>to.input`. */
function linked(...links: string[]): Workflow {
  return links.reduce((next, one) => {
    const [from, to, input] = one.split(/[>.]/) as [string, string, string];
    const whole = [from, to].reduce((all, id) => (Object.hasOwn(all.nodes, id) ? all : addNode(all, id, "Any", { x: 0, y: 0 })), next);
    return link(whole, { node: from, output: "out" }, { node: to, input }, false);
  }, emptyWorkflow());
}

test("what an upper input reads stands above what a lower one reads, whatever the order in the document", () => {
  const { places, bends } = arrange(linked("c>end.third", "a>end.first", "b>end.second"), shapeOf);
  const height = (id: string) => places.get(id)!.y;
  expect(height("a")).toBeLessThan(height("b"));
  expect(height("b")).toBeLessThan(height("c"));
  expect(bends).toEqual([]);
});

test("orders that do not agree with each other lay out all the same", () => {
  const { places } = arrange(linked("a>one.first", "b>one.second", "b>two.first", "a>two.second", "one>end.first", "two>end.second"), shapeOf);
  expect(places.get("one")!.y).toBeLessThan(places.get("two")!.y);
  expect(new Set([...places.values()].map(({ x, y }) => `${x} ${y}`)).size).toBe(5);
});

test("nodes may be called as what every object has", () => {
  const { places } = arrange(linked("constructor>hasOwnProperty.first", "toString>hasOwnProperty.second"), shapeOf);
  expect(places.get("constructor")!.x).toBeLessThan(places.get("hasOwnProperty")!.x);
  expect(places.get("constructor")!.y).toBeLessThan(places.get("toString")!.y);
});

test("a link that would run behind a node is led past it, and what was not laid out is not led anywhere", () => {
  const workflow = linked("start>middle.first", "start>low.first", "middle>end.second", "low>end.third", "start>end.first", "outside>start.first");
  const { places, bends } = arrange(workflow, shapeOf, new Set(["start", "middle", "low", "end"]));
  expect([...places.keys()].sort()).toEqual(["end", "low", "middle", "start"]);
  expect(bends.map(({ node, input, link: from }) => [from.node, node, input])).toEqual([["start", "end", "first"]]);
  for (const { x, y } of [places.get("middle")!, places.get("low")!]) {
    for (const point of bends[0]!.points) {
      expect(point.x >= x && point.x <= x + 200).toBe(true);
      expect(point.y < y || point.y > y + 200).toBe(true);
    }
  }
  expect(bends[0]!.points).toHaveLength(2);
});
