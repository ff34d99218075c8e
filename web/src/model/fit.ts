// Which output may be linked to which input: the same rules as the server's check.
import type { Input, NodeType, Output } from "../api/generated";
import { asList, own, type JsonValue, type Link, type Workflow } from "./document";
import type { Target } from "./edit";

export type Types = { [name: string]: NodeType };
/** A type's name and the names of the types it also is. `~T` is not known yet. */
export interface Wire {
  type: string;
  bases: readonly string[];
}
/** Why a link does not fit: a message key and what to fill into it. */
export interface Misfit {
  key: "fit.self" | "fit.cycle" | "fit.type" | "fit.same" | "fit.none";
  needs?: string;
  gives?: string;
}

export const isVariable = (type: string): boolean => type.startsWith("~");
export const inputOf = (type: NodeType, name: string): Input | undefined => type.inputs.find((one) => one.name === name);
export const outputOf = (type: NodeType, name: string): Output | undefined =>
  type.outputs.find((one) => one.name === name);

/** Whether an output of type `wire` fits an input that accepts the named type. */
export function fits(wire: Wire, accepted: string): boolean {
  if (wire.type === accepted || isVariable(accepted) || isVariable(wire.type)) return true;
  return wire.bases.includes(accepted) || (wire.type === "int" && accepted === "float");
}

/** The wire types of a workflow's outputs, variables resolved from what is linked to the node. */
export class Wires {
  private readonly known = new Map<string, Map<string, Wire>>();

  constructor(readonly workflow: Workflow, readonly types: Types) {}

  /** The type that an output gives; undefined where its node, type or output is not there. */
  of(link: Link): Wire | undefined {
    const spec = own(this.workflow.nodes, link.node);
    const type = spec && own(this.types, spec.type);
    const output = type && outputOf(type, link.output);
    if (!output) return undefined;
    const wire = { type: output.type, bases: output.bases };
    return isVariable(output.type) ? (this.variables(link.node).get(output.type) ?? wire) : wire;
  }

  /** What each type variable of a node stands for, as far as its links and values say. */
  variables(id: string, except?: string): Map<string, Wire> {
    const found = except === undefined ? this.known.get(id) : undefined;
    if (found) return found;
    const bound = new Map<string, Wire>();
    if (except === undefined) this.known.set(id, bound); // before looking upstream, so that a cycle ends
    const spec = own(this.workflow.nodes, id);
    const type = spec && own(this.types, spec.type);
    for (const input of type?.inputs ?? []) {
      const variable = input.types.find(isVariable);
      if (!variable || bound.has(variable) || input.name === except) continue;
      const first = asList(own(spec!.links, input.name))[0];
      const value = own(spec!.values, input.name) ?? null;
      const wire = first ? this.of(first) : value === null ? undefined : { type: typeOfValue(value), bases: [] };
      if (wire && !isVariable(wire.type)) bound.set(variable, wire);
    }
    return bound;
  }

  /** Why `from` cannot be linked to an input, or null where it can. */
  misfit(from: Link, to: Target): Misfit | null {
    return this.mistyped(from, to) ?? (this.reaches(to.node, from.node) ? { key: "fit.cycle" } : null);
  }

  /** The same without the walk that looks for cycles. */
  mistyped(from: Link, to: Target): Misfit | null {
    const spec = own(this.workflow.nodes, to.node);
    const type = spec && own(this.types, spec.type);
    const input = type && inputOf(type, to.input);
    const wire = this.of(from);
    if (!input || !wire) return { key: "fit.none" };
    if (from.node === to.node) return { key: "fit.self" };
    const variable = input.types.find(isVariable);
    const bound = variable && this.variables(to.node, input.name).get(variable);
    if (bound && !fits(wire, bound.type)) return { key: "fit.same", needs: bound.type, gives: wire.type };
    if (!input.types.some((accepted) => fits(wire, accepted))) {
      return { key: "fit.type", needs: input.types.join(" / "), gives: wire.type };
    }
    return null;
  }

  /** Whether `node` depends, over any number of links, on `source`. */
  reaches(source: string, node: string): boolean {
    const seen = new Set<string>();
    const waiting = [node];
    for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) {
      if (id === source) return true;
      if (seen.has(id)) continue;
      seen.add(id);
      for (const links of Object.values(own(this.workflow.nodes, id)?.links ?? {})) {
        for (const link of asList(links)) waiting.push(link.node);
      }
    }
    return false;
  }
}

/** The node types with an input that takes `wire`, or with an output that fits an input; with the port that fits. */
export function matching(types: Types, port: { gives: Wire } | { needs: readonly string[] }): Map<string, string> {
  const found = new Map<string, string>();
  for (const type of Object.values(types)) {
    const name =
      "gives" in port
        ? best(type.inputs, (input) => input.types.some((one) => !isVariable(one) && fits(port.gives, one)))
          ?? type.inputs.find((input) => input.types.some(isVariable))?.name
        : type.outputs.find((output) => port.needs.some((needed) => fits(output, needed)))?.name;
    if (name !== undefined) found.set(type.name, name);
  }
  return found;
}

const best = (inputs: Input[], accepts: (input: Input) => boolean): string | undefined =>
  (inputs.find((input) => accepts(input) && input.required) ?? inputs.find(accepts))?.name;

/** The wire type of a literal. */
export function typeOfValue(value: JsonValue): string {
  if (typeof value === "boolean") return "bool";
  if (typeof value === "number") return Number.isInteger(value) ? "int" : "float";
  return typeof value === "string" ? "str" : "list";
}
