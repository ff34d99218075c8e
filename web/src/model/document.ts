// The document: read strictly, as the server reads it, and written in the same fixed form.
import type { Bend, Bookmark, Frame, InnerInput, JsonValue, Link, NodeSpec, Point, Position, Subgraph, Workflow } from "../api/generated";
import { InexactNumber, refuseInexact } from "../lib/exact";

export type { Bend, Bookmark, Frame, InnerInput, JsonValue, Link, NodeSpec, Point, Position, Subgraph, Workflow };
export type Links = NodeSpec["links"];
export type Values = NodeSpec["values"];

/** A text is no workflow; the message says where and why. */
export class DocumentError extends Error {
  override name = "DocumentError";
}

const NODE_ID = /^[\p{L}\p{N}_][\p{L}\p{M}\p{N}\u200c\u200d_ -]*$/u;
const MAX_BYTES = 32 * 2 ** 20;
/** As far from the middle as anything is drawn: beyond, sums of places are no numbers any more. */
const RIM = 1e10;

/** The entry of a map, or undefined; never something inherited, such as `constructor`. */
export function own<T>(map: { [key: string]: T }, key: string): T | undefined {
  return Object.hasOwn(map, key) ? map[key] : undefined;
}

/** Whether a text may name a node. */
export const isNodeId = (id: string): boolean => NODE_ID.test(id) && id.length <= 100 && id !== "__proto__";

/** The links of an input as a list. */
export const asList = (links: Link | Link[] | undefined): Link[] =>
  links === undefined ? [] : Array.isArray(links) ? links : [links];

export const emptyWorkflow = (title = ""): Workflow => ({
  format: "nodegraph", version: 1, title, description: "", nodes: {}, layout: {}, groups: [], notes: [],
  bends: [], bookmarks: {}, subgraphs: {},
});

/** The workflow in a JSON text. Throws DocumentError. */
export function parseWorkflow(text: string): Workflow {
  if (text.length > MAX_BYTES) throw new DocumentError(`the document is longer than ${MAX_BYTES} characters`);
  let data: unknown;
  try {
    data = JSON.parse(text, refuseInexact);
  } catch (error) {
    const { message } = error as Error;
    throw new DocumentError(error instanceof InexactNumber ? message : `not JSON: ${message}`);
  }
  return readWorkflow(data);
}

/** The workflow in JSON data, with every field there. Throws DocumentError. */
export function readWorkflow(data: unknown): Workflow {
  const root = object(data, "document");
  if (root["format"] !== "nodegraph") {
    throw new DocumentError('not a workflow: a workflow is a JSON object with "format": "nodegraph"');
  }
  if (root["version"] !== 1) {
    throw new DocumentError(`the document has version ${JSON.stringify(root["version"])}; this editor reads version 1`);
  }
  only(root, "document", ["format", "version", "title", "description", "nodes", "layout", "groups", "notes", "bends", "bookmarks", "subgraphs"]);
  const subgraphs = mapOf(root["subgraphs"], "subgraphs", readSubgraph);
  for (const name of Object.keys(subgraphs)) {
    if (!isNodeId(name)) throw new DocumentError(`subgraphs > ${name}: not a name for a subgraph`);
  }
  return {
    format: "nodegraph", version: 1, title: text(root["title"], "title"),
    description: text(root["description"], "description"), ...readGraph(root, "this workflow"),
    bookmarks: mapOf(root["bookmarks"], "bookmarks", readBookmark), subgraphs,
  };
}

/** Nodes and where they lie: what a workflow and a subgraph have in common. */
function readGraph(root: { [key: string]: unknown }, whole: string) {
  const nodes = mapOf(root["nodes"], "nodes", readNode);
  for (const id of Object.keys(nodes)) {
    if (!isNodeId(id)) throw new DocumentError(`nodes > ${id}: not a name for a node`);
  }
  const layout = mapOf(root["layout"], "layout", readPosition);
  for (const id of Object.keys(layout)) {
    if (!Object.hasOwn(nodes, id)) throw new DocumentError(`layout places '${id}', which is no node of ${whole}`);
  }
  return {
    nodes, layout, groups: list(root["groups"], "groups", readFrame), notes: list(root["notes"], "notes", readFrame),
    bends: list(root["bends"], "bends", readBend),
  };
}

function readSubgraph(data: unknown, place: string): Subgraph {
  const root = object(data, place);
  only(root, place, ["description", "nodes", "inputs", "outputs", "layout", "groups", "notes", "bends"]);
  const graph = readGraph(root, "this subgraph");
  const inputs = mapOf(root["inputs"], `${place} > inputs`, (all, at) => list(all, at, readInnerInput));
  const outputs = mapOf(root["outputs"], `${place} > outputs`, readLink);
  for (const [name, all] of Object.entries(inputs)) {
    const lost = all.length ? all.find((one) => !Object.hasOwn(graph.nodes, one.node))?.node : "nothing";
    if (!isNodeId(name) || lost !== undefined) throw new DocumentError(`${place}: input '${name}' leads to '${lost}', which is no node of it`);
  }
  for (const [name, { node }] of Object.entries(outputs)) {
    if (!isNodeId(name) || !Object.hasOwn(graph.nodes, node)) {
      throw new DocumentError(`${place}: output '${name}' comes from '${node}', which is no node of it`);
    }
  }
  return { description: text(root["description"], `${place} > description`), ...graph, inputs, outputs };
}

function readInnerInput(data: unknown, place: string): InnerInput {
  const one = object(data, place);
  only(one, place, ["node", "input", "at"]);
  const at = one["at"] ?? null;
  return {
    node: text(one["node"], `${place} > node`), input: text(one["input"], `${place} > input`),
    at: at === null ? null : number(at, `${place} > at`),
  };
}

/** The document as JSON text, as the server writes it: fixed order, defaults left out, a line break at the end. */
export function dumpWorkflow(workflow: Workflow, indent = 2): string {
  return `${JSON.stringify(compact(workflow), null, indent)}\n`;
}

/** The document as JSON data with defaults left out. */
export function compact(workflow: Workflow): { [key: string]: JsonValue } {
  const data = {
    format: "nodegraph",
    version: 1,
    ...(workflow.title ? { title: workflow.title } : {}),
    ...(workflow.description ? { description: workflow.description } : {}),
    ...plainGraph(workflow),
    ...(isEmpty(workflow.bookmarks) ? {} : { bookmarks: mapEntries(workflow.bookmarks, plainBookmark) }),
    ...(isEmpty(workflow.subgraphs) ? {} : { subgraphs: mapEntries(workflow.subgraphs, plainSubgraph) }),
  };
  // Interfaces have no index signature, so that the compiler does not see that this is JSON.
  return data as object as { [key: string]: JsonValue };
}

export type Graph = Pick<Workflow, "nodes" | "layout" | "groups" | "notes" | "bends">;

function plainNodes(graph: Graph) {
  const nodes = mapEntries(graph.nodes, ({ type, values, links, title, bypassed, muted }) => ({
    type,
    ...(isEmpty(values) ? {} : { values }),
    ...(isEmpty(links) ? {} : { links: mapEntries(links, plainLinks) }),
    ...(title ? { title } : {}),
    ...(bypassed ? { bypassed } : {}),
    ...(muted ? { muted } : {}),
  }));
  return isEmpty(nodes) ? {} : { nodes };
}

function plainPlaces(graph: Graph) {
  const layout = mapEntries(graph.layout, ({ x, y, width, collapsed }) => ({
    x, y, ...(width === null ? {} : { width }), ...(collapsed ? { collapsed } : {}),
  }));
  return {
    ...(isEmpty(layout) ? {} : { layout }),
    ...(graph.groups.length ? { groups: graph.groups.map(plainFrame) } : {}),
    ...(graph.notes.length ? { notes: graph.notes.map(plainFrame) } : {}),
    ...(graph.bends.length ? { bends: graph.bends.map(plainBend) } : {}),
  };
}

const plainGraph = (graph: Graph) => ({ ...plainNodes(graph), ...plainPlaces(graph) });

function plainSubgraph(subgraph: Subgraph) {
  const { description, inputs, outputs } = subgraph;
  return {
    ...(description ? { description } : {}),
    ...plainNodes(subgraph),
    ...(isEmpty(inputs) ? {} : { inputs: mapEntries(inputs, (all) => all.map(({ node, input, at }) => ({ node, input, ...(at === null ? {} : { at }) }))) }),
    ...(isEmpty(outputs) ? {} : { outputs: mapEntries(outputs, plainLink) }),
    ...plainPlaces(subgraph),
  };
}

/** A copy of a map with each entry changed. */
export function mapEntries<A, B>(map: { [key: string]: A }, change: (value: A, key: string) => B): { [k: string]: B } {
  return Object.fromEntries(Object.entries(map).map(([key, value]) => [key, change(value, key)]));
}

const isEmpty = (map: object): boolean => Object.keys(map).length === 0;
const plainLink = ({ node, output }: Link): Link => ({ node, output });
const plainLinks = (links: Link | Link[]): Link | Link[] =>
  Array.isArray(links) ? links.map(plainLink) : plainLink(links);
const plainFrame = ({ x, y, width, height, text: words, color }: Frame) => ({
  x, y, width, height, ...(words ? { text: words } : {}), ...(color === null ? {} : { color }),
});

const plainBend = ({ node, input, link, points }: Bend) => ({
  node, input, link: plainLink(link), points: points.map(({ x, y }) => ({ x, y })),
});

const plainBookmark = ({ x, y, zoom, path }: Bookmark) => ({ x, y, zoom, ...(path.length ? { path } : {}) });

function readNode(data: unknown, place: string): NodeSpec {
  const node = object(data, place);
  only(node, place, ["type", "values", "links", "title", "bypassed", "muted"]);
  if (node["bypassed"] && node["muted"]) throw new DocumentError(`${place}: a node is bypassed or muted, not both`);
  if (typeof node["type"] !== "string" || !node["type"]) throw new DocumentError(`${place} > type: give a node type`);
  return {
    type: node["type"],
    values: mapOf(node["values"], `${place} > values`, (value) => value as JsonValue),
    links: mapOf(node["links"], `${place} > links`, (value, at) =>
      Array.isArray(value) ? value.map((entry, index) => readLink(entry, `${at} > ${index}`)) : readLink(value, at),
    ),
    title: text(node["title"], `${place} > title`),
    bypassed: flag(node["bypassed"], `${place} > bypassed`),
    muted: flag(node["muted"], `${place} > muted`),
  };
}

function readLink(data: unknown, place: string): Link {
  const link = object(data, place);
  only(link, place, ["node", "output"]);
  const node = text(link["node"], `${place} > node`);
  const output = text(link["output"], `${place} > output`);
  if (!isNodeId(node) || !output) throw new DocumentError(`${place}: a link names a node and one of its outputs`);
  return { node, output };
}

function readPosition(data: unknown, place: string): Position {
  const position = object(data, place);
  only(position, place, ["x", "y", "width", "collapsed"]);
  const width = position["width"] ?? null;
  return {
    x: reach(position["x"], `${place} > x`), y: reach(position["y"], `${place} > y`),
    width: width === null ? null : reach(width, `${place} > width`),
    collapsed: flag(position["collapsed"], `${place} > collapsed`),
  };
}

function readFrame(data: unknown, place: string): Frame {
  const frame = object(data, place);
  only(frame, place, ["x", "y", "width", "height", "text", "color"]);
  const color = frame["color"] ?? null;
  if (color !== null && !(typeof color === "string" && /^#[0-9a-fA-F]{6}$/.test(color))) {
    throw new DocumentError(`${place} > color: give a colour such as #ff8800`);
  }
  const [x, y, width, height] = ["x", "y", "width", "height"].map((key) => reach(frame[key], `${place} > ${key}`));
  return { x: x!, y: y!, width: width!, height: height!, text: text(frame["text"], `${place} > text`), color };
}

function readBend(data: unknown, place: string): Bend {
  const bend = object(data, place);
  only(bend, place, ["node", "input", "link", "points"]);
  const points = list(bend["points"], `${place} > points`, (one, at) => {
    const point = object(one, at);
    only(point, at, ["x", "y"]);
    return { x: reach(point["x"], `${at} > x`), y: reach(point["y"], `${at} > y`) };
  });
  if (!points.length || points.length > 100) throw new DocumentError(`${place} > points: from 1 to 100 points are expected`);
  return { node: text(bend["node"], `${place} > node`), input: text(bend["input"], `${place} > input`), link: readLink(bend["link"], `${place} > link`), points };
}

function readBookmark(data: unknown, place: string): Bookmark {
  const bookmark = object(data, place);
  only(bookmark, place, ["x", "y", "zoom", "path"]);
  const [x, y, zoom] = [reach(bookmark["x"], `${place} > x`), reach(bookmark["y"], `${place} > y`), number(bookmark["zoom"], `${place} > zoom`)];
  if (!/^bookmarks > [1-9]$/.test(place)) throw new DocumentError(`${place}: bookmarks are called 1 to 9`);
  if (zoom <= 0 || zoom > 100) throw new DocumentError(`${place} > zoom: from 0 to 100 is expected`);
  return { x, y, zoom, path: list(bookmark["path"], `${place} > path`, text) };
}

function object(data: unknown, place: string): Record<string, unknown> {
  if (typeof data !== "object" || data === null || Array.isArray(data)) {
    throw new DocumentError(`${place}: an object is expected`);
  }
  return data as Record<string, unknown>;
}

function only(data: Record<string, unknown>, place: string, known: string[]): void {
  const extra = Object.keys(data).find((key) => !known.includes(key));
  if (extra !== undefined) {
    throw new DocumentError(`${place} > ${extra}: this field does not exist; remove it or correct its name`);
  }
}

function mapOf<T>(data: unknown, place: string, read: (value: unknown, place: string) => T): { [key: string]: T } {
  const map = object(data ?? {}, place);
  if (Object.hasOwn(map, "__proto__")) throw new DocumentError(`${place}: '__proto__' cannot be a name`);
  return mapEntries(map, (value, key) => read(value, `${place} > ${key}`));
}

function list<T>(data: unknown, place: string, read: (value: unknown, place: string) => T): T[] {
  if (data !== undefined && !Array.isArray(data)) throw new DocumentError(`${place}: a list is expected`);
  return (data ?? []).map((value, index) => read(value, `${place} > ${index}`));
}

function text(data: unknown, place: string): string {
  if (data !== undefined && typeof data !== "string") throw new DocumentError(`${place}: text is expected`);
  return data ?? "";
}

function flag(data: unknown, place: string): boolean {
  if (data !== undefined && typeof data !== "boolean") throw new DocumentError(`${place}: give true or false`);
  return data ?? false;
}

function number(data: unknown, place: string): number {
  if (typeof data !== "number" || !Number.isFinite(data)) throw new DocumentError(`${place}: a number is expected`);
  return data;
}

/** A place or a length on the canvas. It is for the eye alone: what lies out of reach is drawn at the rim, and the workflow runs as ever. */
const reach = (data: unknown, place: string): number => Math.max(-RIM, Math.min(RIM, number(data, place)));
