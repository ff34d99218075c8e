// Every problem of a workflow that can be told without the server, each with its node and input.
import type { NodeType, Raised } from "../api/generated";
import { takingPart } from "./bypass";
import { asList, own, type NodeSpec, type Workflow } from "./document";
import { inputOf, Wires, type Types } from "./fit";
import { flawOf } from "./value";

/** A message key with what to fill into it, or the server's own words in `message`. */
export interface Problem {
  node: string | null;
  input: string | null;
  key: string;
  /** The node inside a use of a subgraph that has it, where the use is what is shown. */
  inside?: string;
  slots: { [slot: string]: string | number };
  /** Where a node's code raised it, if it did. */
  raised?: Raised | null;
}

export const spoken = (message: string, node: string | null = null, input: string | null = null): Problem => ({
  node, input, key: "", slots: { message },
});

export function problemsOf(document: Workflow, types: Types): Problem[] {
  const workflow = takingPart(document, types);
  const problems: Problem[] = [];
  const wires = new Wires(workflow, types);
  for (const [id, spec] of Object.entries(workflow.nodes)) {
    const type = own(types, spec.type);
    if (type) nodeProblems(id, spec, type, workflow, wires, problems);
    else problems.push({ node: id, input: null, key: "problem.type", slots: { type: spec.type } });
  }
  const cycle = cycleIn(workflow);
  if (cycle) problems.push({ node: cycle[0]!, input: null, key: "problem.cycle", slots: { nodes: cycle.join(" → ") } });
  return problems;
}

function nodeProblems(
  id: string, spec: NodeSpec, type: NodeType, workflow: Workflow, wires: Wires, problems: Problem[],
): void {
  const add = (input: string, key: string, slots: Problem["slots"] = {}) =>
    problems.push({ node: id, input, key, slots });
  for (const [name, value] of Object.entries(spec.values)) {
    const input = inputOf(type, name);
    const flaw = input && flawOf(input, value);
    if (!input) add(name, "problem.input", { type: type.name });
    else if (Object.hasOwn(spec.links, name)) add(name, "problem.both");
    else if (flaw) add(name, flaw.key, flaw);
  }
  for (const [name, there] of Object.entries(spec.links)) {
    const input = inputOf(type, name);
    if (!input) {
      add(name, "problem.input", { type: type.name });
      continue;
    }
    const links = asList(there);
    if (links.length !== 1 && !input.many) add(name, "problem.many", { count: links.length });
    for (const link of links) {
      const source = own(workflow.nodes, link.node);
      if (!source) add(name, "problem.source", { node: link.node });
      else if (Object.hasOwn(wires.types, source.type)) {
        const misfit = wires.of(link) ? wires.mistyped(link, { node: id, input: name }) : { key: "problem.output" };
        if (misfit) add(name, misfit.key, { needs: "", gives: "", ...misfit, node: link.node, output: link.output });
      }
    }
  }
  for (const input of type.inputs) {
    if (input.required && !Object.hasOwn(spec.values, input.name) && !Object.hasOwn(spec.links, input.name)) {
      add(input.name, input.value_schema ? "problem.value" : "problem.link", { needs: input.types.join(" / ") });
    }
  }
}

/** A cycle among the nodes, first node repeated at the end, or null. */
export function cycleIn(workflow: Workflow): string[] | null {
  const done = new Set<string>();
  for (const start of Object.keys(workflow.nodes)) {
    if (done.has(start)) continue;
    const path: string[] = [];
    const onPath = new Set<string>();
    const stack: { id: string; sources: string[] }[] = [];
    const enter = (id: string) => {
      path.push(id);
      onPath.add(id);
      const spec = own(workflow.nodes, id);
      stack.push({ id, sources: Object.values(spec?.links ?? {}).flatMap((links) => asList(links).map((l) => l.node)) });
    };
    enter(start);
    while (stack.length) {
      const top = stack.at(-1)!;
      const next = top.sources.pop();
      if (next === undefined) {
        stack.pop();
        path.pop();
        onPath.delete(top.id);
        done.add(top.id);
      } else if (onPath.has(next)) return [...path.slice(path.indexOf(next)), next];
      else if (!done.has(next) && Object.hasOwn(workflow.nodes, next)) enter(next);
    }
  }
  return null;
}
