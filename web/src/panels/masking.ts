// Which picture a mask is painted over, which saved mask is there already, and the edit that puts a new one in.
import { asList, own, type Workflow } from "../model/document";
import { addNode, link, setValue, type Target } from "../model/edit";
import { inputOf, type Types } from "../model/fit";
import { freshId } from "../model/names";

const READ = "LoadImage";
const CONVERT = "MaskFromImage";

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
  const picture = pictures[0] ?? null;
  // A picture's own transparency can be its mask; it is not to be painted over.
  const mask = sourcesOf(workflow, types, to).find((one) => one.node !== picture?.node) ?? null;
  return { picture, mask };
}

/** The output that gives a node its picture. */
export function pictureLink(workflow: Workflow, types: Types, node: string): { node: string; output: string } | null {
  const type = own(types, own(workflow.nodes, node)?.type ?? "");
  for (const input of type?.inputs ?? []) {
    const [one] = asList(own(workflow.nodes[node]!.links, input.name));
    if (one && input.types.includes("Image")) return one;
  }
  return null;
}

/** Put a painted mask, stored under a name, into the workflow: into the node that reads the old one, or new nodes. */
export function withMask(workflow: Workflow, types: Types, to: Target, name: string): Workflow {
  const there = sources(workflow, types, to).mask;
  if (there) return setValue(workflow, there, name);
  const place = own(workflow.layout, to.node) ?? { x: 0, y: 0 };
  const read = freshId(workflow, "mask_picture");
  let next = addNode(workflow, read, READ, { x: place.x - 560, y: place.y + 240 });
  const file = own(types, READ)?.inputs.find((input) => input.value_schema?.["file"] === "images")?.name ?? "image";
  next = setValue(next, { node: read, input: file }, name);
  const convert = freshId(next, "mask");
  next = addNode(next, convert, CONVERT, { x: place.x - 280, y: place.y + 240 });
  next = link(next, { node: read, output: "image" }, { node: convert, input: "image" }, false);
  const type = own(types, next.nodes[to.node]!.type);
  const output = own(types, CONVERT)?.outputs[0]?.name ?? "mask";
  return link(next, { node: convert, output }, to, (type && inputOf(type, to.input)?.many) ?? false);
}

/** A file name for a mask over a picture: `cat.png` gives `cat-mask.png`. */
export const maskName = (picture: string): string => `${picture.replace(/\.[a-z0-9]+$/i, "").replace(/-mask(-\d+)?$/, "").split("/").at(-1)!.slice(0, 60)}-mask.png`;
