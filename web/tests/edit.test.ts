import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { duplicate, extract, copy, paste } from "../src/model/clip";
import { asList, dumpWorkflow, emptyWorkflow, parseWorkflow, type Workflow } from "../src/model/document";
import * as edit from "../src/model/edit";
import { begin, commit, redo, undo } from "../src/model/history";
import { freshId, snakeCase } from "../src/model/names";
import { problemsOf } from "../src/model/problems";
import { TYPES } from "./catalog";

const at = { x: 0, y: 0 };
const names = Object.keys(TYPES);
const none: ReadonlySet<number> = new Set();

function two(): Workflow {
  let doc = edit.addNode(emptyWorkflow(), "a", "Words", at);
  doc = edit.addNode(doc, "b", "Join", at);
  return edit.link(doc, { node: "a", output: "value" }, { node: "b", input: "parts" }, true);
}

describe("edits", () => {
  test("removing a node removes the links to it", () => {
    const doc = edit.removeNodes(two(), new Set(["a"]));
    expect(doc.nodes["b"]!.links).toEqual({});
    expect(doc.layout["a"]).toBeUndefined();
  });
  test("a value replaces a link, and a link replaces a value", () => {
    const valued = edit.setValue(two(), { node: "b", input: "parts" }, ["x"]);
    expect(valued.nodes["b"]).toMatchObject({ links: {}, values: { parts: ["x"] } });
    const linked = edit.link(valued, { node: "a", output: "value" }, { node: "b", input: "parts" }, true);
    expect(linked.nodes["b"]).toMatchObject({ links: { parts: [{ node: "a", output: "value" }] }, values: {} });
  });
  test("many links keep their order and none is doubled", () => {
    let doc = edit.addNode(two(), "c", "Words", at);
    doc = edit.link(doc, { node: "c", output: "value" }, { node: "b", input: "parts" }, true);
    expect(edit.link(doc, { node: "a", output: "value" }, { node: "b", input: "parts" }, true)).toBe(doc);
    expect(asList(doc.nodes["b"]!.links["parts"]).map((one) => one.node)).toEqual(["a", "c"]);
    doc = edit.unlink(doc, { node: "a", output: "value" }, { node: "b", input: "parts" });
    expect(doc.nodes["b"]!.links["parts"]).toEqual([{ node: "c", output: "value" }]);
  });
  test("the end of a link moves, in a list without losing its place", () => {
    let doc = edit.addNode(edit.addNode(two(), "c", "Words", at), "d", "Join", at);
    doc = edit.link(doc, { node: "c", output: "value" }, { node: "b", input: "parts" }, true);
    const from = { node: "a", output: "value" };
    const moved = edit.relink(doc, { from, to: { node: "b", input: "parts" } }, { from, to: { node: "d", input: "parts" } }, true);
    expect(moved.nodes["b"]!.links["parts"]).toEqual([{ node: "c", output: "value" }]);
    expect(moved.nodes["d"]!.links["parts"]).toEqual([from]);
    const to = { node: "b", input: "parts" };
    const other = edit.addNode(doc, "e", "Words", at);
    const placed = edit.relink(other, { from, to }, { from: { node: "e", output: "value" }, to }, true);
    expect(asList(placed.nodes["b"]!.links["parts"]).map((one) => one.node)).toEqual(["e", "c"]);
    expect(edit.relink(doc, { from, to }, { from, to }, true)).toBe(doc);
    expect(edit.relink(doc, { from, to }, { from, to }, false)).toBe(doc);
  });
  test("a renamed node keeps its place and its readers", () => {
    const doc = edit.renameNode(two(), "a", "words");
    expect(Object.keys(doc.nodes)).toEqual(["words", "b"]);
    expect(doc.nodes["b"]!.links["parts"]).toEqual([{ node: "words", output: "value" }]);
    expect(() => edit.renameNode(doc, "words", "b")).toThrow("cannot name");
  });
  test("dissolving joins what the node passed on", () => {
    let doc = edit.addNode(two(), "c", "Join", at);
    doc = edit.link(doc, { node: "b", output: "value" }, { node: "c", input: "parts" }, true);
    doc = edit.dissolveNode(doc, "b", () => "parts");
    expect(doc.nodes["c"]!.links["parts"]).toEqual([{ node: "a", output: "value" }]);
    expect(doc.nodes["b"]).toBeUndefined();
  });
  test("an edit that changes nothing returns its input", () => {
    const doc = two();
    expect(edit.setValue(doc, { node: "a", input: "text" }, undefined)).toBe(doc);
    expect(edit.moveNodes(doc, new Map([["a", at]]))).toBe(doc);
    expect(edit.removeNodes(doc, new Set(["zz"]))).toBe(doc);
    expect(edit.setTitle(doc, "a", "")).toBe(doc);
  });
  test("names", () => {
    expect(["VAEDecode", "LoadModel", "MaskInpaint"].map(snakeCase)).toEqual(["vae_decode", "load_model", "mask_inpaint"]);
    expect(freshId(two(), "a")).toBe("a_2");
    expect(freshId(two(), "a_7")).toBe("a_2");
    expect(freshId(two(), "!")).toBe("node");
  });
});

describe("copies", () => {
  const both = { nodes: new Set(["b"]), groups: none, notes: none };
  test("keep links from outside where the source is there", () => {
    const here = paste(two(), copy(two(), both), { x: 5, y: 5 });
    expect(here.nodes).toEqual(["b_2"]);
    expect(here.workflow.nodes["b_2"]!.links["parts"]).toEqual([{ node: "a", output: "value" }]);
    const elsewhere = paste(emptyWorkflow(), copy(two(), both), at);
    expect(elsewhere.workflow.nodes["b"]!.links).toEqual({});
  });
  test("links inside follow the fresh names", () => {
    const all = { nodes: new Set(["a", "b"]), groups: none, notes: none };
    const { workflow } = duplicate(two(), all);
    expect(workflow.nodes["b_2"]!.links["parts"]).toEqual([{ node: "a_2", output: "value" }]);
    expect(Object.keys(extract(workflow, all).nodes)).toEqual(["a", "b"]);
  });
});

test("typing is one step, and a pause begins another", () => {
  let history = begin(two());
  const type = (text: string, now: number) => {
    const doc = edit.setValue(history.present, { node: "a", input: "text" }, text);
    history = commit(history, doc, "value", now, "a.text");
  };
  type("h", 0);
  type("hi", 300);
  type("hi!", 5000);
  expect(history.past).toHaveLength(2);
  history = undo(history);
  expect(history.present.nodes["a"]!.values["text"]).toBe("hi");
  expect(undo(undo(history)).present.nodes["a"]!.values).toEqual({});
});

type Edit = (doc: Workflow) => Workflow;
const pick = <T>(list: T[], index: number): T | undefined => list[index % Math.max(1, list.length)];
// A whole number beyond 2^53 is refused when a document is read, and JSON knows no -0.
const aValue = fc.jsonValue().filter((value) => !/\d{16}/.test(JSON.stringify(value))).map((value) => JSON.parse(JSON.stringify(value)) as unknown);
const anEdit: fc.Arbitrary<Edit> = fc.tuple(fc.nat(11), fc.nat(), fc.nat(), fc.nat(), aValue).map(
  ([kind, i, j, k, value]) => (doc) => {
    const ids = Object.keys(doc.nodes);
    const [one, other] = [pick(ids, i) ?? "none", pick(ids, j) ?? "none"];
    const type = (id: string) => TYPES[doc.nodes[id]?.type ?? ""];
    const input = pick(type(other)?.inputs ?? [], k)?.name ?? "none";
    const output = pick(type(one)?.outputs ?? [], k)?.name ?? "none";
    const selection = { nodes: new Set([one]), groups: new Set([i % 2]), notes: none };
    switch (kind) {
      case 0: return edit.removeNodes(doc, new Set([one]));
      case 1: return edit.link(doc, { node: one, output }, { node: other, input }, k % 2 === 0);
      case 2: return edit.unlinkInput(doc, { node: other, input });
      case 3: return edit.setValue(doc, { node: other, input }, value as never);
      case 4: return edit.moveNodes(doc, new Map([[one, { x: i, y: j }]]));
      case 5: return ids.length ? edit.renameNode(doc, one, freshId(doc, `n${k % 3}`)) : doc;
      case 6: return duplicate(doc, selection).workflow;
      case 7: return paste(doc, copy(doc, selection), { x: 1, y: 1 }).workflow;
      case 8: return edit.addFrame(doc, "groups", { x: i, y: j, width: 10, height: 10, text: "g", color: null });
      case 9: return edit.setPlace(doc, one, { collapsed: k % 2 === 0 });
      case 10: return edit.dissolveNode(doc, one, () => type(one)?.inputs[0]?.name ?? null);
      default: return edit.addNode(doc, freshId(doc, snakeCase(pick(names, k)!)), pick(names, k)!, at);
    }
  },
);

test("any edits leave a document that can be saved, without dangling links, and undo leads back", () => {
  fc.assert(
    fc.property(fc.array(anEdit, { minLength: 1, maxLength: 50 }), (edits) => {
      const start = two();
      let history = begin(start);
      for (const apply of edits) {
        if (Object.keys(history.present.nodes).length > 40) break;
        history = commit(history, apply(history.present), "edit", 0);
      }
      const end = history.present;
      expect(parseWorkflow(dumpWorkflow(end))).toEqual(end);
      for (const spec of Object.values(end.nodes)) {
        for (const link of Object.values(spec.links).flatMap(asList)) expect(end.nodes).toHaveProperty([link.node]);
      }
      for (const problem of problemsOf(end, TYPES)) {
        if (problem.node !== null) expect(end.nodes).toHaveProperty([problem.node]);
      }
      const steps = history.past.length;
      for (let step = 0; step < steps; step += 1) history = undo(history);
      expect(history.present).toBe(start);
      for (let step = 0; step < steps; step += 1) history = redo(history);
      expect(history.present).toBe(end);
    }),
    { numRuns: 300 },
  );
});
