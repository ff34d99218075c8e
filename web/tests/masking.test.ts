import { expect, test } from "vitest";
import type { NodeType } from "../src/api/generated";
import { emptyWorkflow, type Workflow } from "../src/model/document";
import { addNode, link, setValue } from "../src/model/edit";
import type { Types } from "../src/model/fit";
import { neededFor } from "../src/model/needed";
import { maskInputs, maskName, pictureLink, sources, withMask, withoutUnread } from "../src/panels/masking";
import { input, output } from "./catalog";

const type = (name: string, inputs: NodeType["inputs"], outputs: NodeType["outputs"]): NodeType => ({
  name, inputs, outputs, category: "", doc: "", effect: "none", on_device: false, version: 1, needs: {}, module: "", code: "",
});
const file = input("image", ["str"], { value_schema: { type: "string", file: "images" } });
const TYPES: Types = Object.fromEntries(
  [
    type("LoadImage", [file], [output("image", "Image"), output("mask", "Mask")]),
    type("MaskFromImage", [input("image", ["Image"])], [output("mask", "Mask")]),
    type("Resize", [input("image", ["Image"])], [output("image", "Image")]),
    type("Paint", [], [output("image", "Image")]),
    type("Shape", [], [output("mask", "Mask")]),
    type("Composite", [input("mask", ["Mask"])], [output("image", "Image")]),
    type("MaskInpaint", [input("image", ["Image"]), input("mask", ["Mask"])], [output("latent", "Latent")]),
  ].map((one) => [one.name, one]),
);
const sizeOf = () => ({ width: 232, height: 120 });
const to = { node: "inpaint", input: "mask" };
const from = (node: string, name = "image") => ({ node, output: name });

/** A picture that is resized and inpainted, without a mask. */
function plain(): Workflow {
  let doc = emptyWorkflow();
  for (const [id, name] of [["cat", "LoadImage"], ["small", "Resize"], ["inpaint", "MaskInpaint"]] as const) {
    doc = addNode(doc, id, name, { x: 600, y: 100 });
  }
  doc = setValue(doc, { node: "cat", input: "image" }, "cats/cat.png");
  doc = link(doc, from("cat"), { node: "small", input: "image" }, false);
  return link(doc, from("small"), { node: "inpaint", input: "image" }, false);
}

test("the picture under a mask is found upstream, by what its node reads", () => {
  const doc = plain();
  expect(maskInputs(TYPES, "MaskInpaint")).toEqual(["mask"]);
  expect(sources(doc, TYPES, to)).toEqual({ picture: null, mask: null }); // what is resized is not the file any more
  const direct = link(doc, from("cat"), { node: "inpaint", input: "image" }, false);
  expect(sources(direct, TYPES, to)).toEqual({ picture: { node: "cat", input: "image", name: "cats/cat.png" }, mask: null });
  expect(pictureLink(doc, TYPES, "inpaint")).toEqual(from("small"));
  expect(maskName("cats/cat.png")).toBe("cat-mask.png");
  expect(maskName("cat-mask-2.png")).toBe("cat-mask.png");
});

test("a painted mask comes in through two new nodes, and the next one into the same", () => {
  const first = withMask(plain(), TYPES, to, "cat-mask.png", sizeOf);
  expect(first.nodes["mask_picture"]).toMatchObject({ type: "LoadImage", values: { image: "cat-mask.png" } });
  expect(first.nodes["mask"]!.links).toEqual({ image: from("mask_picture") });
  expect(first.nodes["inpaint"]!.links["mask"]).toEqual(from("mask", "mask"));
  expect(sources(first, TYPES, to).mask).toEqual({ node: "mask_picture", input: "image", name: "cat-mask.png" });
  const second = withMask(first, TYPES, to, "cat-mask-2.png", sizeOf);
  expect(Object.keys(second.nodes)).toEqual(Object.keys(first.nodes));
  expect(second.nodes["mask_picture"]!.values).toEqual({ image: "cat-mask-2.png" });
  expect(second.nodes["cat"]).toBe(first.nodes["cat"]);
});

test("a picture's own transparency is replaced as a mask, never painted over", () => {
  const doc = link(plain(), from("cat", "mask"), to, false);
  expect(sources(doc, TYPES, to).mask).toBeNull();
  const painted = withMask(doc, TYPES, to, "cat-mask.png", sizeOf);
  expect(painted.nodes["cat"]).toBe(doc.nodes["cat"]);
  expect(painted.nodes["inpaint"]!.links["mask"]).toEqual(from("mask", "mask"));
});

test("the new nodes lie on no other", () => {
  const doc = addNode(addNode(plain(), "left", "Paint", { x: 60, y: 300 }), "lower", "Paint", { x: 300, y: 450 });
  const { layout } = withMask(doc, TYPES, to, "cat-mask.png", sizeOf);
  expect([layout["mask_picture"], layout["mask"]]).toMatchObject([{ x: 40, y: 594 }, { x: 320, y: 594 }]);
});

test("who took the old mask takes the new one", () => {
  let doc = addNode(addNode(plain(), "shape", "Shape", { x: 0, y: 0 }), "lay", "Composite", { x: 0, y: 0 });
  for (const node of ["inpaint", "lay"]) doc = link(doc, from("shape", "mask"), { node, input: "mask" }, false);
  const { nodes } = withMask(doc, TYPES, to, "cat-mask.png", sizeOf);
  expect(nodes["inpaint"]!.links["mask"]).toEqual(from("mask", "mask"));
  expect(nodes["lay"]!.links["mask"]).toEqual(from("mask", "mask"));
});

test("with a mask that nobody reads any more goes what made it for nobody else", () => {
  const grow = type("Grow", [input("mask", ["Mask"])], [output("mask", "Mask")]);
  const types: Types = { ...TYPES, Grow: grow, Save: { ...type("Save", [input("mask", ["Mask"])], []), effect: "files" } };
  let doc = addNode(addNode(addNode(plain(), "shape", "Shape", { x: 0, y: 0 }), "grow", "Grow", { x: 0, y: 0 }), "save", "Save", { x: 0, y: 0 });
  doc = link(doc, from("shape", "mask"), { node: "grow", input: "mask" }, false);
  doc = link(doc, from("grow", "mask"), to, false);
  const painted = withMask(doc, types, to, "cat-mask.png", sizeOf);
  const left = withoutUnread(painted, types, "grow");
  expect(Object.keys(left.nodes)).toEqual(["cat", "small", "inpaint", "save", "mask_picture", "mask"]);
  expect(Object.keys(left.layout)).not.toContain("grow");
  // What another node reads stays, and so does a picture whose transparency it was.
  const read = link(painted, from("shape", "mask"), { node: "save", input: "mask" }, false);
  expect(Object.keys(withoutUnread(read, types, "grow").nodes)).toEqual(["cat", "small", "inpaint", "shape", "save", "mask_picture", "mask"]);
  expect(withoutUnread(painted, types, "cat")).toBe(painted);
});

test("what one output needs is run alone, and keeps nothing of what is not finished", () => {
  const doc = addNode(plain(), "other", "Paint", { x: 0, y: 0 });
  const { workflow, target } = neededFor(doc, [], from("small"), { type: "SaveImage", input: "image", values: { name: "it" } });
  expect(Object.keys(workflow.nodes)).toEqual(["cat", "small", target]);
  expect(workflow.nodes[target]).toMatchObject({ type: "SaveImage", values: { name: "it" }, links: { image: from("small") } });
  expect(workflow.nodes["small"]).toBe(doc.nodes["small"]);
});

test("in a subgraph too: its use is given what this part takes, and every other use stays whole", () => {
  const inner = plain();
  const part = {
    title: "", description: "", nodes: inner.nodes, layout: inner.layout, groups: [], notes: [], bends: [],
    inputs: { file: [{ node: "cat", input: "image", at: null }], amount: [{ node: "inpaint", input: "mask", at: null }] },
    outputs: { latent: { node: "inpaint", output: "latent" } },
  };
  let doc: Workflow = { ...emptyWorkflow(), subgraphs: { part } };
  for (const id of ["first", "use"]) doc = addNode(doc, id, "subgraph:part", { x: 0, y: 0 });
  doc = setValue(doc, { node: "use", input: "file" }, "dog.png");
  doc = setValue(doc, { node: "use", input: "amount" }, 1);
  doc = link(doc, from("first", "latent"), { node: "use", input: "file" }, false);
  const { workflow, target } = neededFor(doc, ["use"], from("small"), { type: "SaveImage", input: "image", values: {} });
  expect(target).toMatch(/^use\//);
  expect(workflow.subgraphs["part"]).toBe(doc.subgraphs["part"]);
  expect(workflow.nodes["first"]).toBe(doc.nodes["first"]);
  const { type, values, links } = workflow.nodes["use"]!;
  expect({ type, values, links }).toEqual({ type: "subgraph:needed_1", values: doc.nodes["use"]!.values["file"] ? { file: "dog.png" } : {}, links: { file: from("first", "latent") } });
  const needed = workflow.subgraphs["needed_1"]!;
  expect(Object.keys(needed.nodes)).toEqual(["cat", "small", target.slice(4)]);
  expect([needed.inputs, needed.outputs]).toEqual([{ file: [{ node: "cat", input: "image", at: null }] }, {}]);
});

test("a picture that a run makes has no file", () => {
  let doc = addNode(emptyWorkflow(), "paint", "Paint", { x: 0, y: 0 });
  doc = addNode(doc, "inpaint", "MaskInpaint", { x: 0, y: 0 });
  doc = link(doc, from("paint"), { node: "inpaint", input: "image" }, false);
  expect(sources(doc, TYPES, to)).toEqual({ picture: null, mask: null });
});
