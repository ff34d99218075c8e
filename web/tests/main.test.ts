import { describe, expect, test } from "vitest";
import { emptyWorkflow, type NodeSpec, type Workflow } from "../src/model/document";
import { entriesOf, variables } from "../src/model/main";
import type { Input } from "../src/api/generated";
import { input, TYPES } from "./catalog";

const value = (name: string, value_schema: NonNullable<Input["value_schema"]>) => input(name, ["str"], { required: false, value_schema });
const TEXT = { type: "string", widget: "text" };
const types = {
  Encode: { ...TYPES["Words"]!, inputs: [value("text", TEXT), value("style", { type: "string" })] },
  LoadImage: { ...TYPES["Words"]!, inputs: [value("image", { type: "string", file: "images" })] },
  Sampler: {
    ...TYPES["Words"]!,
    inputs: [value("seed", { type: "integer", widget: "seed" }), value("guidance_scale", { type: "number" }), value("steps", { type: "integer" })],
  },
};

const spec = (type: string, values: NodeSpec["values"] = {}, rest: Partial<NodeSpec> = {}): NodeSpec =>
  ({ type, values, links: {}, title: "", bypassed: false, muted: false, ...rest });
const workflow = (nodes: Workflow["nodes"]): Workflow => ({ ...emptyWorkflow(), nodes });
const names = (all: { node: string; input: { name: string } }[]) => all.map(({ node, input }) => `${node}.${input.name}`);

describe("the values that a person changes", () => {
  test("texts come first, empty ones after the others, then pictures, then seeds", () => {
    const given = workflow({
      sampler: spec("Sampler", { seed: 3, guidance_scale: 2 }), negative: spec("Encode", { text: "" }),
      picture: spec("LoadImage", { image: "a.png" }), prompt: spec("Encode", { text: "a cat" }),
    });
    const { main, others } = entriesOf(given, types);
    expect(names(main)).toEqual(["prompt.text", "negative.text", "picture.image", "sampler.seed"]);
    expect(names(others)).toEqual(["sampler.guidance_scale"]);
  });

  test("what only a negative reads comes after what a positive reads, whatever the order in the document", () => {
    const from = (node: string) => ({ node, output: "conditioning" });
    const given = workflow({
      bad: spec("Encode", { text: "blurry" }), both: spec("Encode", { text: "a cat" }), good: spec("Encode", { text: "sharp" }),
      mixed: spec("Mix", {}, { links: { a: from("bad"), b: from("bad") } }),
      first: spec("Sampler", { seed: 1 }, { links: { positive: from("good"), negative: from("mixed") } }),
      second: spec("Sampler", { seed: 2 }, { links: { positive: from("both"), negative: from("both") } }),
    });
    expect(names(entriesOf(given, types).main)).toEqual(["both.text", "good.text", "bad.text", "first.seed", "second.seed"]);
  });

  test("what is linked, passed by or muted is not among them, nor are nodes that are not installed", () => {
    const given = workflow({
      linked: spec("Encode", {}, { links: { text: { node: "other", output: "text" } } }),
      passed: spec("Encode", { text: "a" }, { bypassed: true }), muted: spec("Encode", { text: "b" }, { muted: true }),
      strange: spec("NoSuchType", { text: "c" }),
    });
    expect(entriesOf(given, types)).toEqual({ main: [], others: [] });
  });
});

describe("the values that a grid can change", () => {
  test("are those at any depth that nothing else gives", () => {
    const inner = { description: "", nodes: { prompt: spec("Encode", { text: "a" }) }, inputs: { text: [{ node: "prompt", input: "text", at: null }] }, outputs: {}, layout: {}, groups: [], notes: [], bends: [] };
    const given = {
      ...workflow({
        own: spec("subgraph:Part"), told: spec("subgraph:Part", { text: "b" }),
        linked: spec("Sampler", {}, { links: { seed: { node: "x", output: "y" } } }),
      }),
      subgraphs: { Part: inner },
    };
    expect(variables(given, types).map((one) => one.address)).toEqual([
      "own/prompt.text", "own/prompt.style", "told/prompt.style", "linked.guidance_scale", "linked.steps",
    ]);
  });
});
