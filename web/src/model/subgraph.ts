// Subgraphs: their definitions as views that are edited like any workflow, and as node types that are used like any other.
import type { Input, NodeType } from "../api/generated";
import {
  dumpWorkflow, emptyWorkflow, isNodeId, mapEntries, own, type InnerInput, type NodeSpec, type Subgraph, type Workflow,
} from "./document";
import { keepLinks } from "./edit";
import { inputOf, Wires, type Types } from "./fit";

export const PREFIX = "subgraph:";
const MAX_DEPTH = 16; // what is nested deeper, or comes to more nodes, the server refuses
const MAX_NODES = 100_000;

/** The name of the subgraph that a node uses; null for every other node. */
export const subgraphOf = (spec: NodeSpec): string | null => (spec.type.startsWith(PREFIX) ? spec.type.slice(PREFIX.length) : null);

/** A type's name as it is shown: of a subgraph, its own. */
export const typeTitle = (type: string): string => (type.startsWith(PREFIX) ? type.slice(PREFIX.length) : type);

/** The definition that a path of uses leads to; null where it leads nowhere. */
export function definitionAt(root: Workflow, path: readonly string[]): string | null {
  let nodes = root.nodes;
  let name: string | null = null;
  for (const id of path) {
    const spec = own(nodes, id);
    name = spec ? subgraphOf(spec) : null;
    const definition = name === null ? undefined : own(root.subgraphs, name);
    if (!definition) return null;
    nodes = definition.nodes;
  }
  return name;
}

/** The longest part of a path that leads somewhere. */
export function validPath(root: Workflow, path: readonly string[]): readonly string[] {
  let length = path.length;
  while (length && definitionAt(root, path.slice(0, length)) === null) length -= 1;
  return length === path.length ? path : path.slice(0, length);
}

/** What lies at the end of a path, as a workflow of its own. */
export function viewOf(root: Workflow, path: readonly string[]): Workflow {
  const name = definitionAt(root, path);
  if (name === null) return root;
  const { nodes, layout, groups, notes, bends } = root.subgraphs[name]!;
  return { ...root, nodes, layout, groups, notes, bends };
}

/** The document with an edited view put back. Ports whose node is gone go with it, and so does what uses gave to them. */
export function withView(root: Workflow, path: readonly string[], view: Workflow): Workflow {
  const name = definitionAt(root, path);
  if (name === null) return view;
  const { nodes, layout, groups, notes, bends } = view;
  const before = own(view.subgraphs, name) ?? root.subgraphs[name]!;
  const inputs: Subgraph["inputs"] = {};
  for (const [port, all] of Object.entries(before.inputs)) {
    const kept = all.filter((one) => Object.hasOwn(nodes, one.node));
    if (kept.length) inputs[port] = kept.length === all.length ? all : kept;
  }
  const outputs = Object.fromEntries(Object.entries(before.outputs).filter(([, one]) => Object.hasOwn(nodes, one.node)));
  const definition = { ...before, nodes, layout, groups, notes, bends, inputs, outputs };
  const next = {
    ...view, nodes: root.nodes, layout: root.layout, groups: root.groups, notes: root.notes, bends: root.bends,
    subgraphs: { ...view.subgraphs, [name]: definition },
  };
  return withoutLostPorts(next, name, before, definition);
}

function withoutLostPorts(root: Workflow, name: string, before: Subgraph, after: Subgraph): Workflow {
  const lost = (old: object, now: object) => new Set(Object.keys(old).filter((port) => !Object.hasOwn(now, port)));
  const [inputs, outputs] = [lost(before.inputs, after.inputs), lost(before.outputs, after.outputs)];
  if (!inputs.size && !outputs.size) return root;
  return everyScope(root, (nodes) => {
    const isUse = (id: string) => own(nodes, id)?.type === PREFIX + name;
    return Object.fromEntries(Object.entries(nodes).map(([id, spec]) => {
      const without = <T>(map: { [key: string]: T }) => Object.fromEntries(Object.entries(map).filter(([port]) => !inputs.has(port)));
      const own = isUse(id) ? { ...spec, values: without(spec.values), links: without(spec.links) } : spec;
      return [id, keepLinks(own, (link) => !(isUse(link.node) && outputs.has(link.output)))];
    }));
  });
}

export type Nodes = Workflow["nodes"];

function everyScope(root: Workflow, change: (nodes: Nodes) => Nodes): Workflow {
  const subgraphs = Object.entries(root.subgraphs).map(([name, one]) => [name, { ...one, nodes: change(one.nodes) }]);
  return { ...root, nodes: change(root.nodes), subgraphs: Object.fromEntries(subgraphs) };
}

/** The node of an id such as `use/inner`; undefined where there is none. */
export function specAt(root: Workflow, id: string): NodeSpec | undefined {
  const path = id.split("/");
  const last = path.pop()!;
  return path.length && definitionAt(root, path) === null ? undefined : own(viewOf(root, path).nodes, last);
}

/** The ids of all nodes that a use of a subgraph stands for; of a document that the server would refuse, the first ones. */
export function innerIds(root: Workflow, use: string): string[] {
  return under(root, use.split("/"), []).filter((id) => subgraphOf(specAt(root, id)!) === null);
}

/** The ids of all nodes of a document, those of uses of subgraphs before what is in them. */
export const allIds = (root: Workflow): string[] => under(root, [], []);

function under(root: Workflow, path: readonly string[], found: string[]): string[] {
  if (path.length > MAX_DEPTH || (path.length && definitionAt(root, path) === null)) return found;
  for (const [id, spec] of Object.entries(viewOf(root, path).nodes)) {
    if (found.length >= MAX_NODES) break;
    found.push([...path, id].join("/"));
    if (subgraphOf(spec) !== null) under(root, [...path, id], found);
  }
  return found;
}

/** The definitions as node types. What contains itself is none. */
export function subgraphTypes(subgraphs: Workflow["subgraphs"], types: Types): Types {
  const found: Types = {};
  const pending = new Set<string>();
  function typeOf(name: string): NodeType | undefined {
    const definition = own(subgraphs, name);
    if (!definition || pending.has(name)) return undefined;
    if (found[PREFIX + name]) return found[PREFIX + name];
    pending.add(name);
    for (const spec of Object.values(definition.nodes)) typeOf(subgraphOf(spec) ?? "");
    pending.delete(name);
    return (found[PREFIX + name] = asType(name, definition, { ...types, ...found }));
  }
  for (const name of Object.keys(subgraphs)) typeOf(name);
  return found;
}

function asType(name: string, definition: Subgraph, types: Types): NodeType {
  const wires = new Wires({ nodes: definition.nodes } as Workflow, types);
  const outputs = Object.entries(definition.outputs).map(([port, link]) => {
    const wire = wires.of(link) ?? { type: "~?", bases: [] };
    return { name: port, type: wire.type, bases: [...wire.bases], doc: "" };
  });
  return {
    name: PREFIX + name, category: "subgraph", doc: definition.description, effect: "none", on_device: false, version: 1, needs: {},
    module: "", code: "", inputs: Object.entries(definition.inputs).map(([port, all]) => asInput(port, all[0]!, definition, types)), outputs,
  };
}

/** A port as an input: that of the first inner input that it leads to, with the value that this has as its default. */
function asInput(port: string, inner: InnerInput, definition: Subgraph, types: Types): Input {
  const spec = definition.nodes[inner.node]!;
  const type = own(types, spec.type);
  const input = type && inputOf(type, inner.input);
  if (!input) return { name: port, types: ["~?"], required: false, many: false, lazy: false, default: null, value_schema: null, painted_by: null, doc: "" };
  const isGiven = Object.hasOwn(spec.values, inner.input) || Object.hasOwn(spec.links, inner.input);
  return {
    ...input, name: port, required: input.required && !isGiven && inner.at === null,
    default: own(spec.values, inner.input) ?? input.default, value_schema: inner.at === null ? input.value_schema : null,
  };
}

/** A name for a port or a subgraph that is not taken: the wished one, or that with a number. */
export const free = (wish: string, taken: object): string => {
  const base = isNodeId(wish) ? wish : "port";
  if (!Object.hasOwn(taken, base)) return base;
  let number = 2;
  while (Object.hasOwn(taken, `${base}_${number}`)) number += 1;
  return `${base}_${number}`;
};

/** Make an inner input a port of its subgraph, or take it back. */
export function promote(root: Workflow, name: string, node: string, input: string): Workflow {
  const definition = own(root.subgraphs, name);
  if (!definition) return root;
  const port = promoted(definition, node, input);
  const inputs = { ...definition.inputs };
  if (port === null) inputs[free(input, inputs)] = [{ node, input, at: null }];
  else {
    const rest = inputs[port]!.filter((one) => one.node !== node || one.input !== input);
    if (rest.length) inputs[port] = rest;
    else delete inputs[port];
  }
  const after = { ...definition, inputs };
  return withoutLostPorts({ ...root, subgraphs: { ...root.subgraphs, [name]: after } }, name, definition, after);
}

/** Make an inner output a port of its subgraph, or take it back. */
export function promoteOutput(root: Workflow, name: string, node: string, output: string): Workflow {
  const definition = own(root.subgraphs, name);
  if (!definition) return root;
  const port = promotedOutput(definition, node, output);
  const { [port ?? ""]: _, ...rest } = definition.outputs;
  const outputs = port === null ? { ...rest, [free(output, rest)]: { node, output } } : rest;
  const after = { ...definition, outputs };
  return withoutLostPorts({ ...root, subgraphs: { ...root.subgraphs, [name]: after } }, name, definition, after);
}

/** The port that leads to an inner input; null where there is none. */
export const promoted = (definition: Subgraph, node: string, input: string): string | null =>
  Object.entries(definition.inputs).find(([, all]) => all.some((one) => one.node === node && one.input === input))?.[0] ?? null;

export const promotedOutput = (definition: Subgraph, node: string, output: string): string | null =>
  Object.entries(definition.outputs).find(([, one]) => one.node === node && one.output === output)?.[0] ?? null;

/** Give a subgraph another name, in its place in the order; its uses follow. The same document where it cannot have it. */
export function renameSubgraph(root: Workflow, name: string, next: string): Workflow {
  if (!Object.hasOwn(root.subgraphs, name) || !isNodeId(next) || Object.hasOwn(root.subgraphs, next)) return root;
  const renamed = everyScope(root, (nodes) => mapEntries(nodes, (spec) => (
    spec.type === PREFIX + name ? { ...spec, type: PREFIX + next } : spec
  )));
  const subgraphs = Object.entries(renamed.subgraphs).map(([key, one]) => [key === name ? next : key, one]);
  return { ...renamed, subgraphs: Object.fromEntries(subgraphs) };
}

/** The definitions that the given nodes use, and those that these use. */
export function usedBy(nodes: Nodes, subgraphs: Workflow["subgraphs"]): Workflow["subgraphs"] {
  const found: Workflow["subgraphs"] = {};
  const waiting = Object.values(nodes);
  for (let spec = waiting.pop(); spec; spec = waiting.pop()) {
    const name = subgraphOf(spec);
    const definition = name === null ? undefined : own(subgraphs, name);
    if (name === null || !definition || Object.hasOwn(found, name)) continue;
    found[name] = definition;
    waiting.push(...Object.values(definition.nodes));
  }
  return found;
}

const written = (definition: Subgraph): string => dumpWorkflow({ ...emptyWorkflow(), subgraphs: { it: definition } });

/** A part whose definitions are named so that they can join those of a workflow: the same ones once, others beside. */
export function joined(part: Workflow, subgraphs: Workflow["subgraphs"]): Workflow {
  const names = new Map<string, string>();
  const all = { ...subgraphs };
  for (const [name, definition] of Object.entries(part.subgraphs)) {
    const there = own(all, name);
    const is = !there || written(there) === written(definition) ? name : free(name, all);
    names.set(name, is);
    all[is] ??= definition;
  }
  const renamed = (nodes: Nodes): Nodes => Object.fromEntries(Object.entries(nodes).map(([id, spec]) => {
    const name = subgraphOf(spec);
    return [id, name !== null && names.has(name) ? { ...spec, type: PREFIX + names.get(name) } : spec];
  }));
  for (const [, is] of names) if (!Object.hasOwn(subgraphs, is)) all[is] = { ...all[is]!, nodes: renamed(all[is]!.nodes) };
  return { ...part, nodes: renamed(part.nodes), subgraphs: all };
}
