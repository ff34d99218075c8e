// What is known of a node whose type is not installed: the values and links that it has.
import type { Input, NodeType, Output } from "../api/generated";
import type { NodeSpec } from "./document";

/** A type made up from a node; `used` are the outputs that links of other nodes take from it. */
export function placeholder(spec: NodeSpec, used: readonly string[]): NodeType {
  const input = (name: string): Input => ({
    name, types: ["~?"], required: false, many: Array.isArray(spec.links[name]), lazy: false, default: null,
    value_schema: Object.hasOwn(spec.values, name) ? {} : null, painted_by: null, doc: "",
  });
  const outputs: Output[] = used.map((name) => ({ name, type: "~?", bases: [], doc: "" }));
  return {
    name: spec.type, category: "", doc: "", effect: "none", on_device: false, version: 1, needs: {}, module: "", code: "", outputs,
    inputs: [...new Set([...Object.keys(spec.values), ...Object.keys(spec.links)])].map(input),
  };
}
