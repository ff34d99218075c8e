// A link that is being drawn: which ports take it, and of the others why not.
import { asList, own, type Link } from "../model/document";
import type { Target } from "../model/edit";
import type { Misfit, Wires } from "../model/fit";

export type Side = "input" | "output";
export type Verdict = "" | "fit" | "misfit" | "from";
/** One end of a link: an output that gives, or an input that takes. */
export type End = { side: "output"; node: string; name: string } | { side: "input"; node: string; name: string };

const place = (node: string, name: string, side: Side) => `${side} ${node} ${name}`;

export class Linking {
  from = $state.raw<End | null>(null);
  /** Whether it was begun by a tap, and waits for a second one. */
  tapped = $state(false);
  private verdicts = $state.raw<ReadonlyMap<string, Misfit | null>>(new Map());

  /** Begin at one end; every port of the other side is judged once. */
  begin(from: End, wires: Wires, tapped = false): void {
    this.verdicts = from.side === "output" ? judgeInputs(from, wires) : judgeOutputs(from, wires);
    this.from = from;
    this.tapped = tapped;
  }

  end(): void {
    this.from = null;
    this.tapped = false;
    this.verdicts = new Map();
  }

  misfit(node: string, name: string, side: Side): Misfit | null {
    return this.verdicts.get(place(node, name, side)) ?? null;
  }

  verdict(node: string, name: string, side: Side): Verdict {
    const from = this.from;
    if (!from) return "";
    if (from.node === node && from.name === name && from.side === side) return "from";
    if (from.side === side) return "misfit";
    const key = place(node, name, side);
    return this.verdicts.has(key) && this.verdicts.get(key) === null ? "fit" : "misfit";
  }

  /** The ports that take the link, in the order of the document. */
  fitting(): End[] {
    const side: Side = this.from?.side === "output" ? "input" : "output";
    return [...this.verdicts].filter(([, misfit]) => misfit === null).map(([key]) => {
      const [, node, name] = split(key);
      return { side, node, name };
    });
  }
}

function split(key: string): [string, string, string] {
  const first = key.indexOf(" ");
  const last = key.lastIndexOf(" ");
  return [key.slice(0, first), key.slice(first + 1, last), key.slice(last + 1)];
}

/** What each input says to an output; nodes that the output depends on would close a circle. */
export function judgeInputs(from: { node: string; name: string }, wires: Wires): Map<string, Misfit | null> {
  const source: Link = { node: from.node, output: from.name };
  const above = ancestors(from.node, wires);
  const verdicts = new Map<string, Misfit | null>();
  for (const [id, spec] of Object.entries(wires.workflow.nodes)) {
    for (const input of own(wires.types, spec.type)?.inputs ?? []) {
      const to: Target = { node: id, input: input.name };
      const misfit = wires.mistyped(source, to) ?? (above.has(id) ? { key: "fit.cycle" as const } : null);
      verdicts.set(place(id, input.name, "input"), misfit);
    }
  }
  return verdicts;
}

/** What each output says to an input. */
export function judgeOutputs(to: { node: string; name: string }, wires: Wires): Map<string, Misfit | null> {
  const target: Target = { node: to.node, input: to.name };
  const verdicts = new Map<string, Misfit | null>();
  for (const [id, spec] of Object.entries(wires.workflow.nodes)) {
    for (const output of own(wires.types, spec.type)?.outputs ?? []) {
      verdicts.set(place(id, output.name, "output"), wires.misfit({ node: id, output: output.name }, target));
    }
  }
  return verdicts;
}

function ancestors(id: string, wires: Wires): Set<string> {
  const seen = new Set<string>();
  const waiting = [id];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (seen.has(next)) continue;
    seen.add(next);
    for (const links of Object.values(own(wires.workflow.nodes, next)?.links ?? {})) {
      for (const link of asList(links)) waiting.push(link.node);
    }
  }
  return seen;
}
