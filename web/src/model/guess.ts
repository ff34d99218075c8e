// How large a node will be and where its ports will lie, told from its type alone. Large graphs are placed by this, so
// that the canvas builds only what is in view; what has been drawn is measured, and then the measure holds.
import type { NodeType } from "../api/generated";
import type { NodeSpec } from "./document";
import { widgetOf, type Widget } from "./value";

export interface Guess {
  height: number;
  /** The middle of each port, from the upper edge of the node. */
  inputs: ReadonlyMap<string, number>;
  outputs: ReadonlyMap<string, number>;
}

export const WIDTH = 232; // of a node to which no other is given
// As canvas.css has them, in pixels.
const HEAD = 32;
export const FOLDED = 33;
const PAD = { top: 5, bottom: 9 };
const ROW = 24;
const FIELD = 26;
const AREA = 89;
const GAP = 4;

const tall: ReadonlySet<Widget["kind"]> = new Set(["text", "list"]);

/** The size and ports of a node of this type. */
export function guess(spec: NodeSpec, type: NodeType, collapsed: boolean): Guess {
  const outputs = type.outputs.map((one) => one.name);
  if (collapsed) {
    const middle = (names: readonly string[]) => new Map(names.map((name) => [name, FOLDED / 2]));
    return { height: FOLDED, inputs: middle(type.inputs.map((one) => one.name)), outputs: middle(outputs) };
  }
  const top = HEAD + PAD.top;
  const row = (name: string, index: number): [string, number] => [name, top + ROW * index + ROW / 2];
  const bare = type.inputs.filter((input) => !input.value_schema).map((input) => input.name);
  const fields = type.inputs.filter((input) => input.value_schema);
  const inputs = new Map(bare.map(row));
  let at = top + ROW * Math.max(bare.length, outputs.length) + (fields.length ? GAP - 1 : 0);
  for (const input of fields) {
    const isArea = tall.has(widgetOf(input)!.kind) && !Object.hasOwn(spec.links, input.name);
    inputs.set(input.name, at + FIELD / 2);
    at += (isArea ? AREA : FIELD) + GAP;
  }
  return { height: at - (fields.length ? GAP : 0) + PAD.bottom, inputs, outputs: new Map(outputs.map(row)) };
}
