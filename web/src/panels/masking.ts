// Which picture a mask is painted over, which saved mask is there already, and the edit that puts a new one in.
import type { Size } from "../model/arrange";
import { asList, own, type Link, type Workflow } from "../model/document";
import { addNode, link, removeNodes, setValue, type Target } from "../model/edit";
import { inputOf, type Types } from "../model/fit";
import { WIDTH } from "../model/guess";
import { freshId } from "../model/names";
import { clearBelow } from "../model/spread";

const READ = "LoadImage";
const CONVERT = "MaskFromImage";
const GAP = 48;

/** Where pictures come from that have a name: a node and its input that names a file. */
export interface Source extends Target {
  name: string;
}

/** The inputs of a node that take a mask. */
export const maskInputs = (types: Types, type: string): string[] =>
  (own(types, type)?.inputs ?? []).filter((input) => input.types.includes("Mask")).map((input) => input.name);

/** The nearest nodes upstream of an input that read a picture file, nearest first. */
export function sourcesOf(workflow: Workflow, types: Types, to: Target): Source[] {
  const found: Source[] = [];
  const seen = new Set<string>();
  let next = asList(own(own(workflow.nodes, to.node)?.links ?? {}, to.input)).map((one) => one.node);
  while (next.length) {
    const here = next.filter((id) => !seen.has(id));
    next = [];
    for (const id of here) {
      seen.add(id);
      const spec = own(workflow.nodes, id);
      const type = spec && own(types, spec.type);
      if (!spec || !type) continue;
      const file = type.inputs.find((input) => input.value_schema?.["file"] === "images");
      const name = file && own(spec.values, file.name);
      if (file && typeof name === "string" && name) found.push({ node: id, input: file.name, name });
      for (const input of type.inputs) {
        if (!input.types.some((one) => one === "Image" || one === "Mask")) continue;
        next.push(...asList(own(spec.links, input.name)).map((one) => one.node));
      }
    }
  }
  return found;
}

/** The picture that a node works on under its mask, and the file that its mask is read from; null where there is none. */
export function sources(workflow: Workflow, types: Types, to: Target): { picture: Source | null; mask: Source | null } {
  const type = own(types, own(workflow.nodes, to.node)?.type ?? "");
  const pictures = (type?.inputs ?? [])
    .filter((input) => input.types.includes("Image"))
    .flatMap((input) => sourcesOf(workflow, types, { node: to.node, input: input.name }));
  const from = pictureLink(workflow, types, to.node);
  // Only a file that comes as it is can be painted on: what lies between may crop, turn or resize it.
  const picture = pictures.find((one) => one.node === from?.node && own(workflow.nodes, one.node)?.type === READ) ?? null;
  // A picture's own transparency can be its mask; it is not to be painted over.
  const mask = sourcesOf(workflow, types, to).find((one) => one.node !== pictures[0]?.node) ?? null;
  return { picture, mask };
}

/** The output that gives a node its picture. */
export function pictureLink(workflow: Workflow, types: Types, node: string): Link | null {
  const type = own(types, own(workflow.nodes, node)?.type ?? "");
  for (const input of type?.inputs ?? []) {
    const [one] = asList(own(workflow.nodes[node]!.links, input.name));
    if (one && input.types.includes("Image")) return one;
  }
  return null;
}

/**
 * Put a painted mask, stored under a name, into the workflow: into the node that reads the old one, or new nodes. Who
 * else took the old mask takes the new one: a picture that is repainted here and kept there comes out torn.
 */
export function withMask(workflow: Workflow, types: Types, to: Target, name: string, sizeOf: (workflow: Workflow, id: string) => Size): Workflow {
  const there = sources(workflow, types, to).mask;
  if (there) return setValue(workflow, there, name);
  const place = own(workflow.layout, to.node) ?? { x: 0, y: 0 };
  const read = freshId(workflow, "mask_picture");
  const file = own(types, READ)?.inputs.find((input) => input.value_schema?.["file"] === "images")?.name ?? "image";
  let next = setValue(addNode(workflow, read, READ, place), { node: read, input: file }, name);
  const convert = freshId(next, "mask");
  next = addNode(next, convert, CONVERT, place);
  const height = Math.max(sizeOf(next, read).height, sizeOf(next, convert).height);
  const x = place.x - 2 * (WIDTH + GAP);
  const y = clearBelow(workflow, (id) => sizeOf(workflow, id), { x, y: place.y + 240, width: 2 * WIDTH + GAP, height });
  next = { ...next, layout: { ...next.layout, [read]: { ...next.layout[read]!, x, y }, [convert]: { ...next.layout[convert]!, x: x + WIDTH + GAP, y } } };
  next = link(next, { node: read, output: "image" }, { node: convert, input: "image" }, false);
  const made = { node: convert, output: own(types, CONVERT)?.outputs[0]?.name ?? "mask" };
  for (const taker of [to, ...othersOf(workflow, types, to)]) {
    const type = own(types, next.nodes[taker.node]!.type);
    next = link(next, made, taker, (type && inputOf(type, taker.input)?.many) ?? false);
  }
  return next;
}

/** The mask that an input had is not read there any more: with it go the nodes that made it for nobody else. */
export function withoutUnread(workflow: Workflow, types: Types, old: string): Workflow {
  const gone = new Set<string>();
  const isRead = (id: string) => Object.entries(workflow.nodes).some(([node, { links }]) => (
    !gone.has(node) && Object.values(links).some((there) => asList(there).some((one) => one.node === id))
  ));
  const waiting = [old];
  for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) {
    const spec = own(workflow.nodes, id);
    if (!spec || gone.has(id) || own(types, spec.type)?.effect !== "none" || isRead(id)) continue;
    gone.add(id);
    waiting.push(...Object.values(spec.links).flatMap((there) => asList(there).map((one) => one.node)));
  }
  return gone.size ? removeNodes(workflow, gone) : workflow;
}

/** The other inputs for one mask that the mask of an input goes to. */
function othersOf(workflow: Workflow, types: Types, to: Target): Target[] {
  const [old] = asList(own(workflow.nodes[to.node]!.links, to.input));
  // What a file says besides its picture, such as its transparency, is taken for other ends too.
  const from = old && own(types, own(workflow.nodes, old.node)?.type ?? "");
  if (!old || from?.inputs.some((input) => input.value_schema?.["file"] === "images")) return [];
  return Object.entries(workflow.nodes).flatMap(([node, { type, links }]) => maskInputs(types, type)
    .filter((input) => (node !== to.node || input !== to.input) && !inputOf(own(types, type)!, input)?.many)
    .filter((input) => asList(own(links, input)).some((one) => one.node === old.node && one.output === old.output))
    .map((input) => ({ node, input })));
}

/** A file name for a mask over a picture: `cat.png` gives `cat-mask.png`. */
export const maskName = (picture: string): string => `${picture.replace(/\.[a-z0-9]+$/i, "").replace(/-mask(-\d+)?$/, "").split("/").at(-1)!.slice(0, 60)}-mask.png`;
