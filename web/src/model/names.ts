// Readable names of nodes: the type in small letters, numbered where taken.
import { isNodeId, type Workflow } from "./document";

/** `VAEDecode` becomes `vae_decode`. */
export const snakeCase = (name: string): string =>
  name.replace(/(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])/g, "_").toLowerCase();

/** `guidance_scale` becomes `guidance scale`. */
export const words = (name: string): string => name.replaceAll("_", " ");

/** A free name that begins with `wish`. */
export function freshId(workflow: Workflow, wish: string, taken: ReadonlySet<string> = new Set()): string {
  const base = isNodeId(wish) ? wish.replace(/_\d+$/, "").slice(0, 90) : "node";
  const isTaken = (id: string) => Object.hasOwn(workflow.nodes, id) || taken.has(id);
  if (!isTaken(base)) return base;
  let number = 2;
  while (isTaken(`${base}_${number}`)) number += 1;
  return `${base}_${number}`;
}
