import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { refuseInexact } from "../src/lib/exact";
import { DocumentError, dumpWorkflow, parseWorkflow } from "../src/model/document";

const folder = join(import.meta.dirname, "../../workflows");
const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".json"));
const document = (fields: object) => JSON.stringify({ format: "nodegraph", version: 1, ...fields });

test("every piece of the page of recipes can be pasted", () => {
  const page = readFileSync(join(import.meta.dirname, "../../docs/howto.md"), "utf-8");
  const pieces = [...page.matchAll(/```json\n(.*?)```/gs)].map(([, text]) => parseWorkflow(text!));
  expect(pieces.length).toBeGreaterThan(4);
  for (const { nodes } of pieces) expect(Object.keys(nodes).length).toBeGreaterThan(0);
});

describe("every shipped workflow", () => {
  test("there are some", () => expect(files.length).toBeGreaterThan(4));
  test.each(files)("%s comes back byte for byte", (name) => {
    const text = readFileSync(join(folder, name), "utf8");
    // JSON in a browser has one kind of number: 40.0 and 40 are the same.
    const normal = `${JSON.stringify(JSON.parse(text), null, 2)}\n`;
    expect(dumpWorkflow(parseWorkflow(text))).toBe(normal);
  });
});

test("subgraphs come back byte for byte", () => {
  const page = readFileSync(join(import.meta.dirname, "../../docs/subgraphs.md"), "utf8");
  const text = page.split("```json\n")[1]!.split("```")[0]!;
  expect(dumpWorkflow(parseWorkflow(text))).toBe(`${JSON.stringify(JSON.parse(text), null, 2)}\n`);
});

test("places of the canvas come back byte for byte", () => {
  const text = `${JSON.stringify({ format: "nodegraph", version: 1, bookmarks: { 1: { x: 1, y: -2.5, zoom: 0.5 }, 9: { x: 0, y: 0, zoom: 1, path: ["a", "b"] } } }, null, 2)}\n`;
  expect(dumpWorkflow(parseWorkflow(text))).toBe(text);
});

test("nodes are named in any script", () => {
  for (const id of ["चित्र", "क्‍षेत्र 2", "ภาพที่หนึ่ง", "می‌خواهم", "தமிழ்"]) {
    expect(Object.keys(parseWorkflow(document({ nodes: { [id]: { type: "SaveImage" } } })).nodes)).toEqual([id]);
  }
  expect(() => parseWorkflow(document({ nodes: { "x\u202ey": { type: "SaveImage" } } }))).toThrow("not a name");
});

describe("reading refuses, saying where", () => {
  test.each([
    ["[]", "document: an object is expected"],
    ["{}", 'not a workflow: a workflow is a JSON object with "format": "nodegraph"'],
    ["{", "not JSON"],
    ['{"format":"nodegraph","version":2}', "this editor reads version 1"],
    [document({ colour: 1 }), "document > colour: this field does not exist"],
    [document({ nodes: { a: {} } }), "nodes > a > type: give a node type"],
    [document({ nodes: { "/": { type: "X" } } }), "nodes > /: not a name for a node"],
    [document({ nodes: { a: { type: "X", links: { b: { node: "c" } } } } }), "nodes > a > links > b: a link names"],
    [document({ layout: { a: { x: 0, y: 0 } } }), "layout places 'a'"],
    [document({ notes: [{ x: 0, y: 0, width: 1, height: 1, color: "red" }] }), "notes > 0 > color"],
    [document({ subgraphs: { s: { inputs: { a: [{ node: "x", input: "y" }] } } } }), "input 'a' leads to 'x'"],
    [document({ subgraphs: { s: { outputs: { a: { node: "x", output: "y" } } } } }), "output 'a' comes from 'x'"],
    [document({ subgraphs: { s: { layout: { x: { x: 0, y: 0 } } } } }), "no node of this subgraph"],
    [document({ subgraphs: { "a/b": {} } }), "not a name for a subgraph"],
    [document({ groups: {} }), "groups: a list is expected"],
    [document({ bookmarks: { 0: { x: 0, y: 0, zoom: 1 } } }), "bookmarks are called 1 to 9"],
    [document({ bookmarks: { 1: { x: 0, y: 0, zoom: 0 } } }), "zoom: from 0 to 100"],
    [document({ bookmarks: { 1: { x: 0, y: 0, zoom: 1, path: [3] } } }), "path > 0: text is expected"],
    ['{"format":"nodegraph","version":1,"nodes":{"__proto__":{"type":"X"}}}', "'__proto__' cannot be a name"],
  ])("%s", (text, words) => {
    expect(() => parseWorkflow(text)).toThrow(DocumentError);
    expect(() => parseWorkflow(text)).toThrow(words);
  });

  test("no place that cannot be drawn: it is at the rim, and all else is as it was", () => {
    const far = { x: 1e308, y: -1e308 };
    const link = { node: "a", output: "o" };
    const read = parseWorkflow(document({
      nodes: { a: { type: "X" }, b: { type: "X", links: { i: link } } }, layout: { a: far, b: { x: 1.5, y: -2, width: 1e300 } },
      notes: [{ ...far, width: 1e308, height: 3 }], bends: [{ node: "b", input: "i", link, points: [far] }], bookmarks: { 1: { ...far, zoom: 1 } },
    }));
    const rim = { x: 1e10, y: -1e10 };
    expect(read.layout).toMatchObject({ a: rim, b: { x: 1.5, y: -2, width: 1e10 } });
    expect(read.notes[0]).toMatchObject({ ...rim, width: 1e10, height: 3 });
    expect(read.bends[0]!.points).toEqual([rim]);
    expect(read.bookmarks["1"]).toMatchObject(rim);
  });

  test("a seed that a double would change", () => {
    const text = document({ nodes: { a: { type: "X", values: { seed: 1 } } } }).replace('"seed":1', '"seed":9007199254740993');
    expect(() => parseWorkflow(text)).toThrow("more digits than a browser keeps");
    // What the editor writes itself it reads, where the browser says how a number was written.
    for (const value of [1e20, -1e20, 2 ** 53, 1e21, 1.5e300]) expect(refuseInexact("", value, { source: JSON.stringify(value) })).toBe(value);
    expect(() => refuseInexact("", 2 ** 60, { source: "1152921504606846976" })).toThrow("1152921504606846976 has more digits");
    expect(() => refuseInexact("", 2 ** 53, {})).toThrow("9007199254740992 has more digits");
  });
});
