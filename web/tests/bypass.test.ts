import { expect, test } from "vitest";
import { silentIn, takingPart, throughInput, withoutBypassed } from "../src/model/bypass";
import { addNode, link, setBypassed, setMuted } from "../src/model/edit";
import { dumpWorkflow, emptyWorkflow, parseWorkflow, type Workflow } from "../src/model/document";
import { problemsOf } from "../src/model/problems";
import { input, output, TYPES } from "./catalog";

const types = {
  ...TYPES,
  Add: { ...TYPES["Half"]!, name: "Add", inputs: [input("a", ["int"]), input("b", ["int"])], outputs: [output("value", "int")] },
};
const at = { x: 0, y: 0 };

function chain(): Workflow {
  let doc = addNode(emptyWorkflow(), "n", "Number", at);
  for (const [id, before] of [["a", "n"], ["b", "a"], ["c", "b"]] as const) {
    doc = addNode(doc, id, "Add", at);
    doc = link(doc, { node: before, output: "value" }, { node: id, input: "a" }, false);
    doc = link(doc, { node: "n", output: "value" }, { node: id, input: "b" }, false);
  }
  return doc;
}

test("what a bypassed chain was given goes on to its reader", () => {
  const doc = setBypassed(chain(), ["a", "b"], true);
  const run = withoutBypassed(doc, types);
  expect(Object.keys(run.nodes)).toEqual(["n", "c"]);
  expect(run.nodes["c"]!.links["a"]).toEqual({ node: "n", output: "value" });
  expect(doc.nodes["c"]!.links["a"]).toEqual({ node: "b", output: "value" });
  expect(problemsOf(doc, types)).toEqual([]);
});

test("a muted node takes along what depends on it", () => {
  const doc = setMuted(setBypassed(chain(), ["b"], true), ["a"], true);
  expect([...silentIn(withoutBypassed(doc, types))]).toEqual(["a", "c"]);
  expect(Object.keys(takingPart(doc, types).nodes)).toEqual(["n"]);
  expect(setBypassed(doc, ["a"], true).nodes["a"]).toMatchObject({ bypassed: true, muted: false });
  expect(parseWorkflow(dumpWorkflow(doc))).toEqual(doc);
});

test("a circle of bypassed nodes leads nowhere, and the reader says what it lacks", () => {
  let doc = setBypassed(chain(), ["a", "b"], true);
  doc = link(doc, { node: "b", output: "value" }, { node: "a", input: "a" }, false);
  expect(withoutBypassed(doc, types).nodes["c"]!.links).toEqual({ b: { node: "n", output: "value" } });
  expect(problemsOf(doc, types)).toMatchObject([{ node: "c", input: "a", key: "problem.link" }]);
});

test("a workflow without any is itself; a type that is not known hands nothing on", () => {
  const doc = chain();
  expect(withoutBypassed(doc, types)).toBe(doc);
  expect(setBypassed(doc, ["a"], false)).toBe(doc);
  expect(throughInput(types, "Nothing", "value")).toBeNull();
});

test("a bypassed node of an unknown type passes on the first link that its reader takes", () => {
  let doc = chain();
  doc = addNode(addNode(doc, "words", "Words", at), "half", "Half", at);
  doc = addNode(doc, "kept", "Gone", at);
  doc = link(doc, { node: "words", output: "value" }, { node: "kept", input: "text" }, false);
  doc = link(doc, { node: "half", output: "value" }, { node: "kept", input: "float" }, false);
  doc = link(doc, { node: "b", output: "value" }, { node: "kept", input: "int" }, false);
  doc = link(doc, { node: "kept", output: "INT" }, { node: "c", input: "a" }, false);
  const run = withoutBypassed(setBypassed(doc, ["kept", "b"], true), types);
  expect(run.nodes["c"]!.links["a"]).toEqual({ node: "a", output: "value" });
});
