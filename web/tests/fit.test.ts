import { describe, expect, test } from "vitest";
import { emptyWorkflow, type Workflow } from "../src/model/document";
import { addNode, link, setValue } from "../src/model/edit";
import { fits, matching, Wires } from "../src/model/fit";
import { cycleIn, problemsOf } from "../src/model/problems";
import { flawOf, widgetOf } from "../src/model/value";
import { search } from "../src/model/search";
import { input, TYPES } from "./catalog";

const make = (...nodes: [string, string][]): Workflow =>
  nodes.reduce((doc, [id, type]) => addNode(doc, id, type, { x: 0, y: 0 }), emptyWorkflow());
const out = (node: string, output = "value") => ({ node, output });
const to = (node: string, name: string) => ({ node, input: name });

describe("fitting", () => {
  test("equal types, subclasses and int to float fit; nothing else", () => {
    expect(fits({ type: "Photo", bases: ["Image"] }, "Image")).toBe(true);
    expect(fits({ type: "Image", bases: [] }, "Photo")).toBe(false);
    expect(fits({ type: "int", bases: [] }, "float")).toBe(true);
    expect(fits({ type: "float", bases: [] }, "int")).toBe(false);
  });
  test("a variable takes the type of what is linked first, and holds the others to it", () => {
    let doc = make(["n", "Number"], ["w", "Words"], ["i", "If"], ["h", "Half"], ["p", "Picture"]);
    expect(new Wires(doc, TYPES).of(out("i"))).toMatchObject({ type: "~T" });
    doc = link(doc, out("n"), to("i", "then"), false);
    const wires = new Wires(doc, TYPES);
    expect(wires.of(out("i"))).toMatchObject({ type: "int" });
    expect(wires.misfit(out("w"), to("i", "otherwise"))).toEqual({ key: "fit.same", needs: "int", gives: "str" });
    expect(wires.misfit(out("w"), to("i", "then"))).toBeNull();
    expect(wires.misfit(out("i"), to("h", "value"))).toBeNull();
    expect(wires.misfit(out("p", "image"), to("h", "value"))).toEqual({ key: "fit.type", needs: "float", gives: "Photo" });
  });
  test("cycles and self links are refused", () => {
    const doc = link(make(["a", "Join"], ["b", "Join"]), out("a"), to("b", "parts"), true);
    const wires = new Wires(doc, TYPES);
    expect(wires.misfit(out("b"), to("a", "parts"))).toEqual({ key: "fit.cycle" });
    expect(wires.misfit(out("a"), to("a", "parts"))).toEqual({ key: "fit.self" });
    expect(cycleIn(doc)).toBeNull();
    expect(cycleIn(link(doc, out("b"), to("a", "parts"), true))).toHaveLength(3);
  });
  test("what may follow or precede a port", () => {
    expect([...matching(TYPES, { gives: { type: "int", bases: [] } })]).toEqual([
      ["Number", "value"], ["Half", "value"], ["If", "then"],
    ]);
    expect([...matching(TYPES, { needs: ["Image"] }).keys()]).toEqual(["Picture", "If"]);
  });
});

describe("problems", () => {
  const keys = (doc: Workflow) => problemsOf(doc, TYPES).map(({ node, input: name, key }) => [node, name, key]);
  test("each names its node and input", () => {
    let doc = make(["a", "Number"], ["b", "Show"], ["c", "Nothing"], ["d", "Half"]);
    doc = setValue(doc, to("a", "value"), 101);
    doc = setValue(doc, to("a", "size"), 1);
    expect(keys(doc)).toEqual([
      ["a", "value", "flaw.max"], ["a", "size", "problem.input"], ["b", "image", "problem.link"],
      ["c", null, "problem.type"], ["d", "value", "problem.value"],
    ]);
  });
  test("a sound document has none", () => {
    const doc = link(make(["a", "Picture"], ["b", "Show"]), out("a", "image"), to("b", "image"), false);
    expect(keys(doc)).toEqual([]);
  });
  test("links are judged by type and by source", () => {
    const doc = link(make(["a", "Words"], ["b", "Show"]), out("a"), to("b", "image"), false);
    expect(keys(doc)).toEqual([["b", "image", "fit.type"]]);
    expect(keys(link(make(["b", "Show"]), out("zz"), to("b", "image"), false))).toEqual([["b", "image", "problem.source"]]);
    const missing = link(make(["a", "Words"], ["b", "Show"]), out("a", "zz"), to("b", "image"), false);
    expect(keys(missing)).toEqual([["b", "image", "problem.output"]]);
  });
  test("a chain of 5,000 nodes is checked", () => {
    const nodes = Object.fromEntries(
      Array.from({ length: 5000 }, (_, i) => [
        `n${i}`,
        { type: "Join", values: i ? {} : { parts: ["x"] }, links: i ? { parts: [out(`n${i - 1}`)] } : {}, title: "" },
      ]),
    );
    expect(problemsOf({ ...emptyWorkflow(), nodes: nodes as Workflow["nodes"] }, TYPES)).toEqual([]);
  });
});

describe("values", () => {
  const numeric = input("x", ["float"], { value_schema: { type: "number", exclusiveMinimum: 0, maximum: 1 } });
  const optional = input("x", ["int"], { value_schema: { anyOf: [{ type: "integer", minimum: 8 }, { type: "null" }] } });
  test("the schema chooses the widget", () => {
    expect(widgetOf(numeric)).toMatchObject({ kind: "number", integer: false, low: 0, high: 1, step: 0.01 });
    expect(widgetOf(optional)).toMatchObject({ kind: "number", integer: true, low: 8, high: null });
    expect(widgetOf(input("x", ["Image"]))).toBeNull();
    const kind = (schema: object) => widgetOf(input("x", ["str"], { value_schema: schema as never }))?.kind;
    expect(kind({ type: "integer", widget: "seed" })).toBe("seed");
    expect(kind({ type: "string", widget: "color" })).toBe("color");
    expect(kind({ type: "string", maxLength: 20000 })).toBe("text");
    expect(kind({ type: "string", file: "images" })).toBe("file");
    expect(kind({ type: "string", enum: ["a", "b"] })).toBe("choice");
    expect(kind({ type: "boolean" })).toBe("switch");
  });
  test("flaws say what would be right", () => {
    expect(flawOf(numeric, 0)).toEqual({ key: "flaw.above", value: 0, limit: 0 });
    expect(flawOf(numeric, 1.5)).toEqual({ key: "flaw.max", value: 1.5, limit: 1 });
    expect(flawOf(numeric, "1")).toEqual({ key: "flaw.type", needs: "float" });
    expect(flawOf(optional, null)).toBeNull();
    expect(flawOf(optional, 8.5)).toEqual({ key: "flaw.whole", value: 8.5 });
    expect(flawOf(input("x", ["str"], { value_schema: { type: "string", enum: ["a"] } }), "b")).toMatchObject({ key: "flaw.choice" });
    expect(flawOf(input("x", ["str"], { value_schema: { type: "string", enum: [] } }), "b")).toEqual({ key: "flaw.no_choices" });
    const short = input("x", ["str"], { value_schema: { type: "string", minLength: 2, maxLength: 3 } });
    expect(["", "🙂", "🙂🙂", "🙂🙂🙂", "abcd", "🙂🙂🙂🙂", "a".repeat(3_000_000)].map((text) => flawOf(short, text)?.key)).toEqual(
      ["flaw.empty", "flaw.short", undefined, undefined, "flaw.long", "flaw.long", "flaw.long"]);
    expect(flawOf(input("x", ["Image"]), 1)).toEqual({ key: "flaw.link", needs: "Image" });
  });
});

test("search prefers the beginning of words", () => {
  const items = ["SaveImage", "SharpenImage", "MaskInpaint", "ScaleImage", "Sampler"];
  const found = (query: string) => search(items, query, (item) => [item]).map((hit) => hit.item);
  expect(found("si")[0]).toBe("SaveImage");
  expect(found("inp")).toEqual(["MaskInpaint"]);
  expect(found("smplr")).toEqual(["Sampler"]);
  expect(found("zz")).toEqual([]);
  expect(search(items, "si", (item) => [item])[0]!.marks).toEqual([0, 4]);
});

test("what is usual is found by the whole of another name before names that only begin so", () => {
  const also: { [name: string]: string[] } = { Sampler: ["generate", "denoise"], Rare: ["denoise"] };
  const items = ["DenoiserSize", "Rare", "Sampler"];
  const names = (query: string) => search(items, query, (one) => [one], undefined, (one) => also[one] ?? [], (one) => one === "Sampler").map((hit) => hit.item);
  expect(names("denoise")).toEqual(["Sampler", "DenoiserSize", "Rare"]);
  expect(names("denoiser size")[0]).toBe("DenoiserSize");
});

test("search finds other names below true ones, and says by which", () => {
  const items = ["KSamplerTwin", "Sampler", "Schedule", "SaveModel", "LoadModel", "SimpleKingSaloonMapPlot"];
  const names: { [item: string]: string[] } = { Sampler: ["KSampler", "KSamplerAdvanced", "denoise"], Schedule: ["BasicScheduler", "KSampler"], LoadModel: ["CheckpointLoaderSimple"] };
  const found = (query: string) => search(items, query, (item) => [item], undefined, (item) => names[item] ?? []);
  // What it stands for first of all comes first, also where the other was used a moment ago.
  const recent = (item: string) => (item === "Schedule" ? 20 : 0);
  const again = search(items, "ksampler", (item) => [item], recent, (item) => names[item] ?? []);
  expect(again.map((hit) => hit.item)).toEqual(["KSamplerTwin", "Sampler", "Schedule"]);
  expect(found("ksampler").map((hit) => [hit.item, hit.alias])).toEqual([["KSamplerTwin", null], ["Sampler", "KSampler"], ["Schedule", "KSampler"]]);
  expect(found("K Sampler adv")[0]).toMatchObject({ item: "Sampler", alias: "KSamplerAdvanced", marks: [] });
  expect(found("sampler")[0]).toMatchObject({ item: "Sampler", alias: null });
  expect(found("checkpointloader").map((hit) => hit.item)).toEqual(["LoadModel"]);
  expect(found("sikn")[0]).toMatchObject({ item: "SimpleKingSaloonMapPlot", alias: null });
  expect(found("x")).toEqual([]);
});

test("words of a query that stand in a name go before every other name", () => {
  const items = ["MaskFromImage", "LoadImage", "EmptyVideo", "EmptyLatent", "load_image", "Blend"];
  const names: { [item: string]: string[] } = {
    MaskFromImage: ["LoadImageMask"], EmptyVideo: ["empty latent video"], EmptyLatent: ["empty latent image", "EmptyLatentImage"], Blend: ["c++ (fast)"],
  };
  const recent = (item: string) => (item === "MaskFromImage" || item === "EmptyVideo" ? 20 : 0);
  const found = (query: string) => search(items, query, (item) => [item], recent, (item) => names[item] ?? []);
  expect(found("load image").map((hit) => hit.item)).toEqual(["LoadImage", "load_image", "MaskFromImage"]);
  expect(found("Empty  latent ").map((hit) => hit.item)).toEqual(["EmptyLatent", "EmptyVideo"]);
  expect(found("load image")[0]).toMatchObject({ alias: null, marks: [0, 1, 2, 3, 4, 5, 6, 7, 8] });
  expect(found("load image")[1]!.marks).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect(found("c++ (")).toMatchObject([{ item: "Blend", alias: "c++ (fast)" }]);
  for (const query of ["a.b", "(", "[a", "a-b", "\\", "日本 語", "a_b", "/"]) expect(() => found(query)).not.toThrow();
});
