// Edits of a document: pure functions from one workflow to the next. An edit that changes nothing returns its input.
import {
  asList, isNodeId, mapEntries, own, type Bend, type Frame, type JsonValue, type Link, type Links, type NodeSpec, type Point, type Position,
  type Workflow,
} from "./document";

export type FrameKind = "groups" | "notes";
export type { Point };
export type Target = { node: string; input: string };
export type Ends = { from: Link; to: Target };

const PLACE: Position = { x: 0, y: 0, width: null, collapsed: false };

export function addNode(workflow: Workflow, id: string, type: string, at: Point): Workflow {
  if (!isNodeId(id) || Object.hasOwn(workflow.nodes, id)) throw new Error(`'${id}' cannot name a new node`);
  const spec: NodeSpec = { type, values: {}, links: {}, title: "", bypassed: false, muted: false };
  return {
    ...workflow,
    nodes: { ...workflow.nodes, [id]: spec },
    layout: { ...workflow.layout, [id]: { ...PLACE, x: at.x, y: at.y } },
  };
}

/** Remove nodes, and every link to them. */
export function removeNodes(workflow: Workflow, ids: ReadonlySet<string>): Workflow {
  const nodes = Object.entries(workflow.nodes).filter(([id]) => !ids.has(id));
  if (nodes.length === Object.keys(workflow.nodes).length) return workflow;
  return {
    ...workflow,
    nodes: Object.fromEntries(nodes.map(([id, spec]) => [id, keepLinks(spec, (link) => !ids.has(link.node))])),
    layout: Object.fromEntries(Object.entries(workflow.layout).filter(([id]) => !ids.has(id))),
  };
}

/** Place nodes: whole pixels, so that a document does not fill with fractions. */
export function moveNodes(workflow: Workflow, places: ReadonlyMap<string, Point>): Workflow {
  const layout = { ...workflow.layout };
  let changed = false;
  for (const [id, point] of places) {
    if (!Object.hasOwn(workflow.nodes, id)) continue;
    const old = own(layout, id) ?? PLACE;
    const [x, y] = [Math.round(point.x), Math.round(point.y)];
    if (Object.hasOwn(layout, id) && old.x === x && old.y === y) continue;
    layout[id] = { ...old, x, y };
    changed = true;
  }
  return changed ? { ...workflow, layout, bends: bendsAlong(workflow, layout) } : workflow;
}

/** The points of links whose both ends went the same way go with them. */
function bendsAlong(workflow: Workflow, layout: Workflow["layout"]): Workflow["bends"] {
  const way = (id: string): Point => {
    const [from, to] = [own(workflow.layout, id) ?? PLACE, own(layout, id) ?? PLACE];
    return { x: to.x - from.x, y: to.y - from.y };
  };
  return workflow.bends.map((bend) => {
    const [by, other] = [way(bend.node), way(bend.link.node)];
    if ((!by.x && !by.y) || by.x !== other.x || by.y !== other.y) return bend;
    return { ...bend, points: bend.points.map((point) => ({ x: point.x + by.x, y: point.y + by.y })) };
  });
}

export function setPlace(workflow: Workflow, id: string, change: Partial<Position>): Workflow {
  if (!Object.hasOwn(workflow.nodes, id)) return workflow;
  const place = { ...(own(workflow.layout, id) ?? PLACE), ...change };
  return { ...workflow, layout: { ...workflow.layout, [id]: place } };
}

/** Link an output to an input; `many` adds to the links that are there, else they and a value are replaced. */
export function link(workflow: Workflow, from: Link, to: Target, many: boolean): Workflow {
  return changeNode(workflow, to.node, (spec) => {
    const there = own(spec.links, to.input);
    const old = asList(there);
    const same = old.some((one) => one.node === from.node && one.output === from.output);
    if (same && !Object.hasOwn(spec.values, to.input)) return spec;
    const one = { node: from.node, output: from.output };
    const links = many ? (same ? old : [...old, one]) : one;
    return { ...spec, links: { ...spec.links, [to.input]: links }, values: without(spec.values, to.input) };
  });
}

/** Take one link away; what is left of a list stays a list. */
export function unlink(workflow: Workflow, from: Link, to: Target): Workflow {
  return changeNode(workflow, to.node, (spec) =>
    keepLinks(spec, (one, input) => !(input === to.input && one.node === from.node && one.output === from.output)),
  );
}

/** Move an end of a link: what led from `old.from` to `old.to` leads from `next.from` to `next.to`, by the same points. */
export function relink(workflow: Workflow, old: Ends, next: Ends, many: boolean): Workflow {
  const linked = relinked(workflow, old, next, many);
  const bend = linked === workflow ? undefined : workflow.bends.find((one) => isBendOf(one, old));
  if (!bend) return linked;
  const rest = workflow.bends.filter((one) => one !== bend && !isBendOf(one, next));
  return { ...linked, bends: [...rest, { ...bend, ...next.to, link: next.from }] };
}

export const MOST_POINTS = 100; // of one link

export const isBendOf = (bend: Bend, { from, to }: Ends): boolean =>
  bend.node === to.node && bend.input === to.input && bend.link.node === from.node && bend.link.output === from.output;

function relinked(workflow: Workflow, old: Ends, next: Ends, many: boolean): Workflow {
  const isOld = (one: Link) => one.node === old.from.node && one.output === old.from.output;
  const isNext = (one: Link) => one.node === next.from.node && one.output === next.from.output;
  const stays = old.to.node === next.to.node && old.to.input === next.to.input;
  if (stays && (isNext(old.from) || !many)) return isNext(old.from) ? workflow : link(workflow, next.from, next.to, false);
  if (!stays) return link(unlink(workflow, old.from, old.to), next.from, next.to, many);
  // In a list it keeps its place.
  return changeNode(workflow, next.to.node, (spec) => {
    const links = asList(own(spec.links, next.to.input)).filter((one) => !isNext(one)).map((one) => (isOld(one) ? next.from : one));
    return { ...spec, links: { ...spec.links, [next.to.input]: links } };
  });
}

/** Take every link of an input away. */
export function unlinkInput(workflow: Workflow, to: Target): Workflow {
  return changeNode(workflow, to.node, (spec) =>
    Object.hasOwn(spec.links, to.input) ? { ...spec, links: without(spec.links, to.input) } : spec,
  );
}

/** Give an input a literal (which replaces a link), or with undefined none, so that its default holds. */
export function setValue(workflow: Workflow, to: Target, value: JsonValue | undefined): Workflow {
  return changeNode(workflow, to.node, (spec) => {
    if (value === undefined) {
      return Object.hasOwn(spec.values, to.input) ? { ...spec, values: without(spec.values, to.input) } : spec;
    }
    const linked = Object.hasOwn(spec.links, to.input);
    if (!linked && Object.hasOwn(spec.values, to.input) && same(spec.values[to.input], value)) return spec;
    return {
      ...spec,
      values: { ...spec.values, [to.input]: value },
      links: linked ? without(spec.links, to.input) : spec.links,
    };
  });
}

export function setTitle(workflow: Workflow, id: string, title: string): Workflow {
  return changeNode(workflow, id, (spec) => (spec.title === title ? spec : { ...spec, title: title.slice(0, 200) }));
}

/** Bypass nodes, so that a run passes them by, or take them in again. */
export function setBypassed(workflow: Workflow, ids: Iterable<string>, bypassed: boolean): Workflow {
  let next = workflow;
  for (const id of ids) {
    next = changeNode(next, id, (spec) => (spec.bypassed === bypassed ? spec : { ...spec, bypassed, muted: false }));
  }
  return next;
}

/** Mute nodes, so that they and what depends on them do not run, or take them in again. */
export function setMuted(workflow: Workflow, ids: Iterable<string>, muted: boolean): Workflow {
  let next = workflow;
  for (const id of ids) {
    next = changeNode(next, id, (spec) => (spec.muted === muted ? spec : { ...spec, muted, bypassed: false }));
  }
  return next;
}

/** Give a node another name, in its place in the order; links to it follow. */
export function renameNode(workflow: Workflow, id: string, name: string): Workflow {
  if (id === name || !Object.hasOwn(workflow.nodes, id)) return workflow;
  if (!isNodeId(name) || Object.hasOwn(workflow.nodes, name)) throw new Error(`'${name}' cannot name this node`);
  const rename = (key: string) => (key === id ? name : key);
  const follow = (one: Link): Link => (one.node === id ? { node: name, output: one.output } : one);
  const nodes = Object.entries(workflow.nodes).map(([key, spec]) => [
    rename(key),
    { ...spec, links: mapEntries(spec.links, (links) => (Array.isArray(links) ? links.map(follow) : follow(links))) },
  ]);
  const layout = Object.entries(workflow.layout).map(([key, place]) => [rename(key), place]);
  const bends = workflow.bends.map((bend) => ({ ...bend, node: rename(bend.node), link: follow(bend.link) }));
  return { ...workflow, nodes: Object.fromEntries(nodes), layout: Object.fromEntries(layout), bends };
}

/** Remove a node and join what it passed on: its readers get its first input that carries the same type, by the same points. */
export function dissolveNode(workflow: Workflow, id: string, through: (output: string) => string | null): Workflow {
  const spec = own(workflow.nodes, id);
  if (!spec) return workflow;
  const replace = (one: Link): Link[] => {
    if (one.node !== id) return [one];
    const input = through(one.output);
    return input === null ? [] : asList(own(spec.links, input));
  };
  const nodes = mapEntries(workflow.nodes, (reader): NodeSpec => {
    const links: Links = {};
    for (const [input, there] of Object.entries(reader.links)) {
      const next = asList(there).flatMap(replace);
      if (Array.isArray(there) ? next.length : next[0]) links[input] = Array.isArray(there) ? next : next[0]!;
    }
    return { ...reader, links };
  });
  const pointsOf = (ends: Ends) => workflow.bends.find((bend) => isBendOf(bend, ends))?.points ?? [];
  const readers = Object.entries(workflow.nodes).flatMap(([node, reader]) => Object.entries(reader.links).flatMap(([input, there]) => (
    asList(there).filter((one) => one.node === id).map((from) => ({ from, to: { node, input } }))
  )));
  const joined = readers.flatMap(({ from, to }) => replace(from).map((link): Bend => {
    const before = pointsOf({ from: link, to: { node: id, input: through(from.output)! } });
    return { ...to, link, points: [...before, ...pointsOf({ from, to })].slice(0, MOST_POINTS) };
  }));
  const bends = [...workflow.bends, ...joined.filter((bend) => bend.points.length > 0)];
  return removeNodes({ ...workflow, nodes, bends }, new Set([id]));
}

export function addFrame(workflow: Workflow, kind: FrameKind, frame: Frame): Workflow {
  return { ...workflow, [kind]: [...workflow[kind], frame] };
}

export function changeFrame(workflow: Workflow, kind: FrameKind, index: number, change: Partial<Frame>): Workflow {
  const old = workflow[kind][index];
  if (!old || Object.entries(change).every(([key, value]) => old[key as keyof Frame] === value)) return workflow;
  return { ...workflow, [kind]: workflow[kind].map((frame, i) => (i === index ? { ...frame, ...change } : frame)) };
}

export function removeFrames(workflow: Workflow, kind: FrameKind, indices: ReadonlySet<number>): Workflow {
  const kept = workflow[kind].filter((_, index) => !indices.has(index));
  return kept.length === workflow[kind].length ? workflow : { ...workflow, [kind]: kept };
}

export function describe(workflow: Workflow, change: { title?: string; description?: string }): Workflow {
  const title = (change.title ?? workflow.title).slice(0, 200);
  const description = change.description ?? workflow.description;
  const unchanged = title === workflow.title && description === workflow.description;
  return unchanged ? workflow : { ...workflow, title, description };
}

function changeNode(workflow: Workflow, id: string, change: (spec: NodeSpec) => NodeSpec): Workflow {
  const spec = own(workflow.nodes, id);
  if (!spec) return workflow;
  const next = change(spec);
  return next === spec ? workflow : { ...workflow, nodes: { ...workflow.nodes, [id]: next } };
}

/** The spec with only those links for which `keep` holds; the spec itself where that is all of them. */
export function keepLinks(spec: NodeSpec, keep: (link: Link, input: string) => boolean): NodeSpec {
  const links: Links = {};
  let changed = false;
  for (const [input, there] of Object.entries(spec.links)) {
    const kept = asList(there).filter((one) => keep(one, input));
    changed ||= kept.length !== asList(there).length;
    if (kept.length) links[input] = Array.isArray(there) ? kept : kept[0]!;
  }
  return changed ? { ...spec, links } : spec;
}

function without<T>(map: { [key: string]: T }, key: string): { [key: string]: T } {
  if (!Object.hasOwn(map, key)) return map;
  const { [key]: _, ...rest } = map;
  return rest;
}

const same = (a: unknown, b: unknown): boolean => a === b || JSON.stringify(a) === JSON.stringify(b);
