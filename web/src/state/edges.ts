// Names as the canvas has them: a link's id is its four names as JSON, a port's id is safe inside a selector.
import type { Link } from "../model/document";
import type { Target } from "../model/edit";

export const edgeId = (from: Link, to: Target): string => JSON.stringify([from.node, from.output, to.node, to.input]);

export function linkOfEdge(id: string): { from: Link; to: Target } {
  const [node, output, target, input] = JSON.parse(id) as [string, string, string, string];
  return { from: { node, output }, to: { node: target, input } };
}

export const portId = (name: string): string => encodeURIComponent(name);
export const portName = (id: string): string => decodeURIComponent(id);
