// Workflows that make a picture which nobody gets to see.
import type { Link, Workflow } from "./document";
import { takingPart } from "./bypass";
import type { Types } from "./fit";
import { asList, own } from "./document";

const PICTURE = "Image";
const LATENT = "Latent";

/**
 * The output whose picture, or else latent, nothing shows or saves; null where some node that takes part in a run leaves
 * something behind, or there is neither. What nothing reads comes first.
 */
export function unseen(workflow: Workflow, types: Types): { from: Link; isPicture: boolean } | null {
  const nodes = Object.entries(takingPart(workflow, types).nodes);
  if (nodes.some(([, spec]) => (own(types, spec.type)?.effect ?? "files") !== "none")) return null;
  const read = new Set(nodes.flatMap(([, spec]) => Object.values(spec.links).flatMap(asList).map(({ node }) => node)));
  const last = nodes.toSorted(([one], [other]) => Number(read.has(one)) - Number(read.has(other)));
  for (const type of [PICTURE, LATENT]) {
    for (const [node, spec] of last) {
      const output = types[spec.type]!.outputs.find((one) => one.type === type || one.bases.includes(type));
      if (output) return { from: { node, output: output.name }, isPicture: type === PICTURE };
    }
  }
  return null;
}
