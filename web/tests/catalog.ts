// A small catalog for the tests of the model.
import type { Input, NodeType, Output } from "../src/api/generated";
import type { Types } from "../src/model/fit";

export const input = (name: string, types: string[], more: Partial<Input> = {}): Input => ({
  name, types, required: true, many: false, lazy: false, default: null, value_schema: null, painted_by: null, doc: "", ...more,
});
export const output = (name: string, type: string, bases: string[] = []): Output => ({ name, type, bases, doc: "" });
const type = (name: string, inputs: Input[], outputs: Output[]): NodeType => ({
  name, category: "test", doc: `Does ${name}.`, inputs, outputs, effect: "none", on_device: false, version: 1, needs: {},
  module: "", code: "",
});
const integer = { type: "integer", minimum: 0, maximum: 100 };
const any = { anyOf: [{ type: "boolean" }, { type: "integer" }, { type: "number" }, { type: "string" }] };

export const TYPES: Types = Object.fromEntries(
  [
    type("Number", [input("value", ["int"], { required: false, default: 1, value_schema: integer })], [output("value", "int")]),
    type("Half", [input("value", ["float"], { value_schema: { type: "number" } })], [output("value", "float")]),
    type("Words", [input("text", ["str"], { required: false, default: "", value_schema: { type: "string", maxLength: 9 } })], [output("value", "str")]),
    type("Join", [input("parts", ["str"], { many: true, value_schema: { type: "array", items: { type: "string" } } })], [output("value", "str")]),
    type("Picture", [], [output("image", "Photo", ["Image"])]),
    type("Show", [input("image", ["Image"])], []),
    type("If", [
      input("condition", ["bool"], { value_schema: { type: "boolean" } }),
      input("then", ["~T"], { lazy: true, value_schema: any }),
      input("otherwise", ["~T"], { lazy: true, value_schema: any }),
    ], [output("value", "~T")]),
  ].map((one) => [one.name, one]),
);
