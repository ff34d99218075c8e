import { describe, expect, it } from "vitest";
import { readWorkflow, type Workflow } from "../src/model/document";
import { differences, toldApart } from "../src/panels/differences";
import { linesOf } from "../src/panels/receipt";
import { input, TYPES } from "./catalog";

const given = (name: string, value: number | boolean | string) => input(name, ["int"], { required: false, default: value, value_schema: {} });
const schedule = { ...TYPES["Number"]!, name: "Schedule", inputs: [given("kind", "karras"), given("steps", 20), given("align", false)] };
const types = { ...TYPES, Schedule: schedule };

const workflow = (nodes: object, subgraphs: object = {}): Workflow => readWorkflow({ format: "nodegraph", version: 1, nodes, subgraphs });
const from = (node: string, output: string) => ({ node, output });
const lines = (left: Workflow, right: Workflow) => (
  differences(left, right, types).map((one) => `${one.node}${one.input && ` ${one.input}`}: ${one.left} | ${one.right}`)
);

describe("what two pictures were made differently with", () => {
  it("is the values, telling ones first, a value left out being its default", () => {
    const made = (schedule: object, seed: number) => workflow({
      schedule: { type: "Schedule", values: schedule }, sampler: { type: "Sampler", values: { s_noise: seed / 10, seed } },
    });
    expect(lines(made({ steps: 20 }, 7), made({ align: false }, 7))).toEqual([]);
    expect(lines(made({}, 7), made({ kind: "karras", steps: 31, align: true }, 8))).toEqual([
      "sampler seed: 7 | 8", "schedule steps: 20 | 31", "schedule align: false | true", "sampler s noise: 0.7 | 0.8",
    ]);
  });

  it("is links, nodes, types and what is passed by", () => {
    const left = workflow({
      one: { type: "LoadImage", values: { image: "a.png" } }, two: { type: "LoadImage", values: { image: "a.png" } },
      save: { type: "SaveImage", links: { image: from("one", "image") } }, blur_it: { type: "BlurImage", links: { image: from("one", "image") } },
    });
    const right = workflow({
      one: { type: "LoadImage", values: { image: "a.png" }, muted: true }, two: { type: "Seed" },
      save: { type: "SaveImage", links: { image: from("blur_it", "image") } }, blur_it: { type: "BlurImage", links: { image: from("one", "image") } },
      more: { type: "PreviewImage", links: { image: from("one", "image") } },
    });
    expect(lines(left, right)).toEqual([
      "one:  | muted", "two: LoadImage | Seed", "save image: from one image | from blur it image", "more:  | PreviewImage",
    ]);
  });

  it("is also what is in subgraphs", () => {
    const made = (seed: number) => workflow({}, { paint: { nodes: { it: { type: "Seed", values: { value: seed } } } } });
    expect(lines(made(1), made(2))).toEqual(["paint › it value: 1 | 2"]);
  });

  it("is a file that was replaced, another machine, another version", () => {
    const told = (digest: string, device: string, torch: string) => linesOf({
      files: { "checkpoints/ink": digest }, device, dtype: "float32", versions: { nodegraph: "1.0", torch },
    });
    expect(toldApart(told("aa", "cpu", "2"), told("aa", "cpu", "2"))).toEqual([]);
    expect(toldApart(told("aa", "cpu", "2"), told("bb", "cuda:0", "3"))).toEqual([
      { node: "Model", input: "", left: "aa", right: "bb" },
      { node: "Computed on", input: "", left: "the processor, in full precision", right: "the graphics card, in full precision" },
      { node: "Program", input: "", left: "nodegraph 1.0, torch 2", right: "nodegraph 1.0, torch 3" },
    ]);
    expect(toldApart(told("aa", "cpu", "2"), [])).toEqual([]);
  });
});
