import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { dumpWorkflow, emptyWorkflow, parseWorkflow, type Workflow } from "../src/model/document";
import { addNode, link, removeNodes, setValue } from "../src/model/edit";
import { copy, insert } from "../src/model/clip";
import { problemsOf } from "../src/model/problems";
import { foldNodes, unfoldNode } from "../src/model/folding";
import {
  allIds, innerIds, PREFIX, promote, promoteOutput, renameSubgraph, specAt, subgraphTypes, validPath, viewOf, withView,
} from "../src/model/subgraph";
import { drawSeeds } from "../src/state/seeds";
import { input, output, TYPES } from "./catalog";

/** Numbers halved and joined: `n1` to `n4`, `h1` to `h4` behind them, `all` joins the words of two others. */
function sample(): Workflow {
  let next = emptyWorkflow("sample");
  const at = (index: number) => ({ x: 300 * index, y: 40 * index });
  for (let index = 1; index <= 4; index += 1) {
    next = addNode(next, `n${index}`, "Number", at(index));
    next = addNode(next, `h${index}`, "Half", at(index + 1));
    next = link(next, { node: index > 2 ? "n1" : `n${index}`, output: "value" }, { node: `h${index}`, input: "value" }, false);
  }
  next = addNode(addNode(addNode(next, "w1", "Words", at(1)), "w2", "Words", at(2)), "all", "Join", at(6));
  for (const from of ["w1", "w2", "w1"]) next = link(next, { node: from, output: "value" }, { node: "all", input: "parts" }, true);
  return setValue(next, { node: "n1", input: "value" }, 9);
}

const types = (workflow: Workflow) => ({ ...TYPES, ...subgraphTypes(workflow.subgraphs, TYPES) });
const sorted = (workflow: Workflow) => JSON.stringify(workflow, (_, value: unknown) => (
  value && typeof value === "object" && !Array.isArray(value) ? Object.fromEntries(Object.entries(value).toSorted()) : value
));

describe("making a subgraph and unpacking it", () => {
  test("comes back to the same document, whatever was chosen", () => {
    const ids = Object.keys(sample().nodes);
    fc.assert(fc.property(fc.subarray(ids, { minLength: 1 }), (chosen) => {
      const before = sample();
      const { workflow, id } = foldNodes(before, new Set(chosen), "Part");
      expect(parseWorkflow(dumpWorkflow(workflow))).toEqual(workflow);
      expect(innerIds(workflow, id).toSorted()).toEqual(chosen.map((one) => `${id}/${one}`).toSorted());
      // What was missing before is missing inside; the rest of the graph has no problem of its own.
      expect(problemsOf(workflow, types(workflow))).toEqual([]);
      const after = unfoldNode(workflow, id)!;
      expect(after.ids.toSorted()).toEqual(chosen.toSorted());
      expect(sorted(after.workflow)).toBe(sorted(before));
    }), { seed: 7, numRuns: 60 });
  });

  test("a source that feeds several nodes is one port", () => {
    const { workflow, id } = foldNodes(sample(), new Set(["h1", "h3", "h4"]), "Part");
    expect(workflow.nodes[id]!.links).toEqual({ value: { node: "n1", output: "value" } });
    expect(workflow.subgraphs["Part"]!.inputs["value"]!.map((one) => one.node)).toEqual(["h1", "h3", "h4"]);
  });

  test("a second use keeps the definition when the first is unpacked", () => {
    const { workflow, id } = foldNodes(sample(), new Set(["h1"]), "Part");
    const { workflow: two, nodes } = insert(workflow, parseWorkflow(copy(workflow, { nodes: new Set([id]), groups: new Set(), notes: new Set() })), { x: 9, y: 9 });
    expect(two.nodes[nodes[0]!]!.type).toBe(`${PREFIX}Part`);
    expect(Object.keys(two.subgraphs)).toEqual(["Part"]);
    const one = unfoldNode(two, id)!.workflow;
    expect(Object.keys(one.subgraphs)).toEqual(["Part"]);
    expect(unfoldNode(one, nodes[0]!)!.workflow.subgraphs).toEqual({});
  });
});

describe("ports", () => {
  const { workflow, id } = foldNodes(sample(), new Set(["n1", "h1"]), "Part");

  test("a promoted input has the widget and the value of the inner one", () => {
    const next = promote(workflow, "Part", "n1", "value");
    const port = types(next)[`${PREFIX}Part`]!.inputs.at(-1)!;
    expect(port).toMatchObject({ name: "value", default: 9, required: false, value_schema: { maximum: 100 } });
    const given = setValue(next, { node: id, input: "value" }, 5);
    expect(unfoldNode(given, id)!.workflow.nodes["n1"]!.values).toEqual({ value: 5 });
    const back = promote(given, "Part", "n1", "value");
    expect(back.nodes[id]!.values).toEqual({});
    expect(back.subgraphs["Part"]!.inputs).toEqual({});
  });

  test("an output that is taken back takes its links along", () => {
    const next = promoteOutput(workflow, "Part", "n1", "value");
    expect(next.nodes["h3"]!.links).toEqual({});
    expect(Object.keys(next.subgraphs["Part"]!.outputs)).toEqual([]);
  });

  test("they go with their node, and what uses gave to them", () => {
    const view = viewOf(workflow, [id]);
    const next = withView(workflow, [id], removeNodes(view, new Set(["n1"])));
    expect(next.subgraphs["Part"]!.outputs).toEqual({});
    expect(next.nodes["h3"]!.links).toEqual({});
    expect(parseWorkflow(dumpWorkflow(next))).toEqual(next);
  });

  test("an edit of a view is an edit of the definition", () => {
    const next = withView(workflow, [id], setValue(viewOf(workflow, [id]), { node: "n1", input: "value" }, 3));
    expect(specAt(next, `${id}/n1`)!.values).toEqual({ value: 3 });
    expect(next.nodes).toBe(workflow.nodes);
    expect(withView(workflow, [], workflow)).toBe(workflow);
  });
});

test("pasted where another subgraph has the name, it gets its own", () => {
  const one = foldNodes(sample(), new Set(["h1"]), "Part").workflow;
  const other = foldNodes(sample(), new Set(["n2", "h2"]), "Part");
  const part = parseWorkflow(copy(other.workflow, { nodes: new Set([other.id]), groups: new Set(), notes: new Set() }));
  const { workflow, nodes } = insert(one, part, { x: 0, y: 0 });
  expect(Object.keys(workflow.subgraphs)).toEqual(["Part", "Part_2"]);
  expect(workflow.nodes[nodes[0]!]!.type).toBe(`${PREFIX}Part_2`);
});

test("a subgraph takes another name with its uses, at any depth, unless that is taken", () => {
  const inner = foldNodes(sample(), new Set(["n1", "h1"]), "Inner");
  const { workflow } = foldNodes(inner.workflow, new Set([inner.id, "h3"]), "Outer");
  const next = renameSubgraph(workflow, "Inner", "Core");
  expect(Object.keys(next.subgraphs)).toEqual(["Core", "Outer"]);
  expect(next.subgraphs["Outer"]!.nodes[inner.id]!.type).toBe(`${PREFIX}Core`);
  expect(problemsOf(next, types(next))).toEqual([]);
  for (const name of ["Outer", "a/b", ""]) expect(renameSubgraph(workflow, "Inner", name)).toBe(workflow);
});

test("subgraphs in subgraphs are types; one that contains itself is none", () => {
  const inner = foldNodes(sample(), new Set(["n1", "h1"]), "Inner");
  const outer = foldNodes(inner.workflow, new Set([inner.id, "h3"]), "Outer");
  expect(types(outer.workflow)[`${PREFIX}Outer`]!.outputs.map((one) => one.type)).toEqual(["int"]);
  expect(validPath(outer.workflow, [outer.id, inner.id])).toEqual([outer.id, inner.id]);
  expect(allIds(outer.workflow)).toContain(`${outer.id}/${inner.id}/n1`);
  expect(validPath(outer.workflow, [outer.id, "gone", "x"])).toEqual([outer.id]);
  const { Inner: definition } = outer.workflow.subgraphs;
  const itself = { ...definition!, nodes: { x: { ...definition!.nodes["n1"]!, type: `${PREFIX}Loop` } }, inputs: {}, outputs: {} };
  expect(subgraphTypes({ Loop: itself }, TYPES)[`${PREFIX}Loop`]!.inputs).toEqual([]);
});

test("what would come to too many nodes is counted to the limit and no further", () => {
  const number = sample().nodes["n1"]!;
  const level = (next: string) => ({ a: { ...number, type: PREFIX + next }, b: { ...number, type: PREFIX + next } });
  const empty = { description: "", inputs: {}, outputs: {}, layout: {}, groups: [], notes: [], bends: [] };
  const itself = { ...emptyWorkflow(), nodes: level("Twice"), subgraphs: { Twice: { ...empty, nodes: level("Twice") } } };
  expect(allIds(itself)).toHaveLength(100_000);
});

test("a seed in a subgraph is drawn as its mode says", () => {
  const seed = { ...TYPES["Number"]!, name: "Seed", inputs: [input("seed", ["int"], { default: 0, value_schema: { type: "integer", widget: "seed" } })], outputs: [output("value", "int")] };
  const whole = addNode(emptyWorkflow(), "s", "Seed", { x: 0, y: 0 });
  const { workflow, id } = foldNodes(whole, new Set(["s"]), "Part");
  const drawn = drawSeeds(workflow, { ...TYPES, Seed: seed }, { [`${PREFIX}Part/s.seed`]: "random" }, {});
  expect(specAt(drawn, `${id}/s`)!.values["seed"]).toBeGreaterThan(0);
  expect(drawSeeds(workflow, { ...TYPES, Seed: seed }, {}, {})).toBe(workflow);
});
