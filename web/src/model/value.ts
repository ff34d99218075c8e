// Literals against their JSON Schema: which widget edits one, and what is wrong with one.
import type { Input } from "../api/generated";
import type { JsonValue } from "./document";

type Schema = { [key: string]: JsonValue };
export type Widget =
  | { kind: "number"; integer: boolean; low: number | null; high: number | null; step: number; openLow: boolean }
  | { kind: "seed" | "switch" | "color" | "line" | "text" | "list" | "any" }
  | { kind: "choice"; choices: JsonValue[] }
  | { kind: "file"; files: string };
/** What is wrong with a value: a message key and what to fill into it. */
export interface Flaw {
  key: string;
  [slot: string]: string | number;
}

/** The member of a schema that speaks of a value that is there, and whether null is allowed beside it. */
export function present(schema: Schema): { schema: Schema; optional: boolean } {
  const members = schema["anyOf"];
  if (!Array.isArray(members)) return { schema, optional: false };
  const others = members.filter((one) => (one as Schema)["type"] !== "null") as Schema[];
  const optional = others.length < members.length;
  return { schema: others.length === 1 ? { ...others[0]!, ...hints(schema) } : schema, optional };
}

const hints = ({ widget, file }: Schema): Schema => ({
  ...(widget === undefined ? {} : { widget }), ...(file === undefined ? {} : { file }),
});

/** The widget that edits an input's literal; null where only a link fits. */
export function widgetOf(input: Input): Widget | null {
  if (!input.value_schema) return null;
  const { schema } = present(input.value_schema);
  if (typeof schema["file"] === "string") return { kind: "file", files: schema["file"] };
  if (Array.isArray(schema["enum"])) return { kind: "choice", choices: schema["enum"] };
  if (schema["const"] !== undefined) return { kind: "choice", choices: [schema["const"]] };
  if (schema["anyOf"]) return { kind: "any" };
  switch (schema["type"]) {
    case "boolean": return { kind: "switch" };
    case "integer": return schema["widget"] === "seed" ? { kind: "seed" } : numeric(schema, true);
    case "number": return numeric(schema, false);
    case "array": return { kind: "list" };
    case "string":
      if (schema["widget"] === "color") return { kind: "color" };
      return isLong(schema) ? { kind: "text" } : { kind: "line" };
    default: return { kind: "any" };
  }
}

/** The kind of files that an input's value names; null where it names none. */
export function fileKind(input: Input): string | null {
  const widget = widgetOf(input);
  return widget?.kind === "file" ? widget.files : null;
}

/** The first few of many names, for a message. */
export const someOf = (names: readonly string[]): string => names.slice(0, 4).join(", ") || "–";

const isLong = (schema: Schema): boolean =>
  schema["widget"] === "text" || (typeof schema["maxLength"] === "number" && schema["maxLength"] >= 5000);

function numeric(schema: Schema, integer: boolean): Widget {
  const bound = (...keys: string[]) => {
    const key = keys.find((one) => typeof schema[one] === "number");
    return key === undefined ? null : (schema[key] as number);
  };
  const low = bound("minimum", "exclusiveMinimum");
  const high = bound("maximum", "exclusiveMaximum");
  const span = low !== null && high !== null ? high - low : 100;
  const step = integer ? (bound("multipleOf") ?? 1) : span <= 2 ? 0.01 : span <= 1000 ? 0.1 : 1;
  return { kind: "number", integer, low, high, step, openLow: schema["minimum"] === undefined && low !== null };
}

/** What is wrong with a value for an input, or null. */
export function flawOf(input: Input, value: JsonValue): Flaw | null {
  if (!input.value_schema) return { key: "flaw.link", needs: input.types.join(" / ") };
  return check(input.value_schema, value);
}

function check(schema: Schema, value: JsonValue): Flaw | null {
  if (Array.isArray(schema["anyOf"])) {
    const flaws = schema["anyOf"].map((one) => check(one as Schema, value));
    if (flaws.includes(null)) return null;
    const { schema: inner } = present(schema);
    return inner === schema ? { key: "flaw.type", needs: "…" } : check(inner, value);
  }
  if (Array.isArray(schema["enum"])) {
    if (schema["enum"].includes(value)) return null;
    if (!schema["enum"].length) return { key: "flaw.no_choices" };
    return { key: "flaw.choice", value: String(value), choices: schema["enum"].join(", ") };
  }
  if (schema["const"] !== undefined) {
    return schema["const"] === value ? null : { key: "flaw.choice", value: String(value), choices: String(schema["const"]) };
  }
  switch (schema["type"]) {
    case "null": return value === null ? null : { key: "flaw.type", needs: "null" };
    case "boolean": return typeof value === "boolean" ? null : { key: "flaw.type", needs: "bool" };
    case "integer":
    case "number": return checkNumber(schema, value);
    case "string": return checkText(schema, value);
    case "array": {
      if (!Array.isArray(value)) return { key: "flaw.type", needs: "list" };
      return value.map((one) => check((schema["items"] ?? {}) as Schema, one)).find(Boolean) ?? null;
    }
    default: return null;
  }
}

function checkNumber(schema: Schema, value: JsonValue): Flaw | null {
  if (typeof value !== "number") return { key: "flaw.type", needs: schema["type"] === "integer" ? "int" : "float" };
  if (schema["type"] === "integer" && !Number.isInteger(value)) return { key: "flaw.whole", value };
  const limit = (key: string, breaks: (bound: number) => boolean, message: string): Flaw | null =>
    typeof schema[key] === "number" && breaks(schema[key]) ? { key: message, value, limit: schema[key] } : null;
  return (
    limit("minimum", (low) => value < low, "flaw.min") ??
    limit("exclusiveMinimum", (low) => value <= low, "flaw.above") ??
    limit("maximum", (high) => value > high, "flaw.max") ??
    limit("exclusiveMaximum", (high) => value >= high, "flaw.below") ??
    limit("multipleOf", (unit) => value % unit !== 0, "flaw.multiple")
  );
}

function checkText(schema: Schema, value: JsonValue): Flaw | null {
  if (typeof value !== "string") return { key: "flaw.type", needs: "str" };
  const { minLength: least, maxLength: most } = schema;
  if (typeof least === "number" && !isLonger(value, least - 1)) {
    return value === "" ? { key: "flaw.empty" } : { key: "flaw.short", limit: least };
  }
  if (typeof most === "number" && isLonger(value, most)) return { key: "flaw.long", limit: most };
  if (typeof schema["pattern"] === "string" && !pattern(schema["pattern"]).test(value)) {
    return { key: "flaw.pattern", pattern: schema["pattern"] };
  }
  return null;
}

/** Whether a text has more characters than that; one has one or two units, so that they are counted only where it depends on them. */
const isLonger = (value: string, limit: number): boolean =>
  value.length > limit && (value.length > 2 * limit || [...value].length > limit);

const patterns = new Map<string, RegExp>();

function pattern(source: string): RegExp {
  let found = patterns.get(source);
  if (!found) {
    try {
      found = new RegExp(source, "u");
    } catch {
      found = /(?:)/; // what this browser cannot read, the server checks
    }
    patterns.set(source, found);
  }
  return found;
}
