import { expect, test } from "vitest";
import type { NodeType } from "../src/api/generated";
import { emptyWorkflow, type Workflow } from "../src/model/document";
import { addNode, link, setValue } from "../src/model/edit";
import type { Types } from "../src/model/fit";
import { maskInputs, maskName, pictureLink, sources, withMask } from "../src/panels/masking";
import { input, output } from "./catalog";

const type = (name: string, inputs: NodeType["inputs"], outputs: NodeType["outputs"]): NodeType => ({
  name, inputs, outputs, category: "", doc: "", effect: "none", on_device: false, version: 1, module: "", code: "",
});
const file = input("image", ["str"], { value_schema: { type: "string", file: "images" } });
const TYPES: Types = Object.fromEntries(
  [
    type("LoadImage", [file], [output("image", "Image"), output("mask", "Mask")]),
    type("MaskFromImage", [input("image", ["Image"])], [output("mask", "Mask")]),
    type("Resize", [input("image", ["Image"])], [output("image", "Image")]),
    type("Paint", [], [output("image", "Image")]),
    type("MaskInpaint", [input("image", ["Image"]), input("mask", ["Mask"])], [output("latent", "Latent")]),
  ].map((one) => [one.name, one]),
);
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
  expect(sources(doc, TYPES, to)).toEqual({ picture: { node: "cat", input: "image", name: "cats/cat.png" }, mask: null });
  expect(pictureLink(doc, TYPES, "inpaint")).toEqual(from("small"));
  expect(maskName("cats/cat.png")).toBe("cat-mask.png");
  expect(maskName("cat-mask-2.png")).toBe("cat-mask.png");
});

test("a painted mask comes in through two new nodes, and the next one into the same", () => {
  const first = withMask(plain(), TYPES, to, "cat-mask.png");
  expect(first.nodes["mask_picture"]).toMatchObject({ type: "LoadImage", values: { image: "cat-mask.png" } });
  expect(first.nodes["mask"]!.links).toEqual({ image: from("mask_picture") });
  expect(first.nodes["inpaint"]!.links["mask"]).toEqual(from("mask", "mask"));
  expect(sources(first, TYPES, to).mask).toEqual({ node: "mask_picture", input: "image", name: "cat-mask.png" });
  const second = withMask(first, TYPES, to, "cat-mask-2.png");
  expect(Object.keys(second.nodes)).toEqual(Object.keys(first.nodes));
  expect(second.nodes["mask_picture"]!.values).toEqual({ image: "cat-mask-2.png" });
  expect(second.nodes["cat"]).toBe(first.nodes["cat"]);
});

test("a picture's own transparency is replaced as a mask, never painted over", () => {
  const doc = link(plain(), from("cat", "mask"), to, false);
  expect(sources(doc, TYPES, to).mask).toBeNull();
  const painted = withMask(doc, TYPES, to, "cat-mask.png");
  expect(painted.nodes["cat"]).toBe(doc.nodes["cat"]);
  expect(painted.nodes["inpaint"]!.links["mask"]).toEqual(from("mask", "mask"));
});

test("a picture that a run makes has no file", () => {
  let doc = addNode(emptyWorkflow(), "paint", "Paint", { x: 0, y: 0 });
  doc = addNode(doc, "inpaint", "MaskInpaint", { x: 0, y: 0 });
  doc = link(doc, from("paint"), { node: "inpaint", input: "image" }, false);
  expect(sources(doc, TYPES, to)).toEqual({ picture: null, mask: null });
});
