// What two pictures differ in: the nodes, values and links of their workflows, and what their receipts tell.
import { t } from "../i18n/index.svelte";
import { asList, own, type NodeSpec, type Workflow } from "../model/document";
import { inputOf, type Types } from "../model/fit";
import { words } from "../model/names";
import { typeTitle } from "../model/subgraph";
import { rank, type Line } from "./receipt";

export interface Difference {
  node: string;
  /** Empty where the node as a whole is another. */
  input: string;
  /** Empty where there is nothing on that side. */
  left: string;
  right: string;
}

/** The differences that may change a picture, those of telling inputs first. A value that is left out counts as its default. */
export function differences(left: Workflow, right: Workflow, types: Types): Difference[] {
  const [one, other] = [specsOf(left), specsOf(right)];
  const ids = new Set([...one.keys(), ...other.keys()]);
  return [...ids].flatMap((id) => ofNode(words(id), one.get(id), other.get(id), types))
    .toSorted((a, b) => rank(a.input) - rank(b.input))
    .map((found) => ({ ...found, input: words(found.input) }));
}

/** What receipts that were read tell differently: another file under the same name, another machine or version. */
export function toldApart(left: readonly Line[], right: readonly Line[]): Difference[] {
  const labels = new Set([...left, ...right].map((line) => line.label));
  return [...labels].flatMap((label): Difference[] => {
    const [one, other] = [left, right].map((lines) => lines.find((line) => line.label === label));
    if (!one || !other || one.exact === other.exact) return [];
    const isTold = one.text !== other.text;
    return [{ node: label, input: "", left: isTold ? one.text : one.exact, right: isTold ? other.text : other.exact }];
  });
}

/** Every node, those of subgraphs behind the name of theirs. */
const specsOf = ({ nodes, subgraphs }: Workflow): Map<string, NodeSpec> => new Map([
  ...Object.entries(nodes),
  ...Object.entries(subgraphs).flatMap(([name, inner]) => Object.entries(inner.nodes).map(([id, spec]): [string, NodeSpec] => [`${name} › ${id}`, spec])),
]);

function ofNode(node: string, left: NodeSpec | undefined, right: NodeSpec | undefined, types: Types): Difference[] {
  const type = (spec: NodeSpec | undefined) => (spec ? typeTitle(spec.type) : "");
  if (!left || !right || left.type !== right.type) return [{ node, input: "", left: type(left), right: type(right) }];
  const inputs = new Set([left, right].flatMap((spec) => [...Object.keys(spec.values), ...Object.keys(spec.links)]));
  const all = [...inputs].map((input): Difference => ({ node, input, left: shown(left, input, types), right: shown(right, input, types) }));
  return [{ node, input: "", left: passed(left), right: passed(right) }, ...all].filter((one) => one.left !== one.right);
}

const passed = ({ bypassed, muted }: NodeSpec): string => (bypassed ? t("node.bypassed_short") : muted ? t("node.muted_short") : "");

/** What an input gets, in words. */
function shown(spec: NodeSpec, input: string, types: Types): string {
  const links = asList(own(spec.links, input));
  if (links.length) return t("compare.from", { source: links.map((link) => words(`${link.node} ${link.output}`)).join(", ") });
  const type = own(types, spec.type);
  const value = own(spec.values, input) ?? (type && inputOf(type, input)?.default) ?? null;
  if (value === null) return t("value.auto");
  return typeof value === "string" ? value : JSON.stringify(value);
}
