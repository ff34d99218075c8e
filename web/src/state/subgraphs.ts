// Subgraphs: made of what is chosen, opened, and unpacked again.
import { t } from "../i18n/index.svelte";
import { own } from "../model/document";
import { foldNodes, unfoldNode } from "../model/folding";
import { PREFIX, promote, promoteOutput, renameSubgraph, subgraphOf } from "../model/subgraph";
import type { App } from "./app.svelte";

/** The use of a subgraph that is chosen alone; null where there is none. */
export function chosenUse(app: App): string | null {
  const [id, ...others] = app.tab.chosen.nodes;
  const spec = id === undefined || others.length ? undefined : own(app.tab.workflow.nodes, id);
  const name = spec ? subgraphOf(spec) : null;
  return name !== null && Object.hasOwn(app.tab.workflow.subgraphs, name) ? id! : null;
}

/** Put the chosen nodes into a subgraph. */
export function enclose(app: App): void {
  const { workflow, id } = foldNodes(app.tab.workflow, app.tab.chosen.nodes, t("subgraph.name"));
  app.tab.edit(workflow, "edit.subgraph");
  app.tab.choose({ nodes: new Set([id]) });
  app.canvas?.focus(id);
}

/** Put the nodes of a subgraph in the place of the chosen use of it. */
export function unpack(app: App): void {
  const use = chosenUse(app);
  const found = use === null ? null : unfoldNode(app.tab.workflow, use);
  if (!found) return;
  app.tab.edit(found.workflow, "edit.unpack");
  app.tab.choose({ nodes: new Set(found.ids) });
}

/** Give the subgraph that is in view another name; seeds keep their modes. False where it cannot have it. */
export function rename(app: App, next: string): boolean {
  const { inView: name, tab } = app;
  const root = name === null ? tab.root : renameSubgraph(tab.root, name, next);
  if (root === tab.root) return false;
  const follow = (address: string) => (address.startsWith(`${PREFIX}${name}/`) ? `${PREFIX}${next}${address.slice(PREFIX.length + name!.length)}` : address);
  tab.seeds = Object.fromEntries(Object.entries(tab.seeds).map(([address, mode]) => [follow(address), mode]));
  tab.editRoot(root, "edit.rename");
  return true;
}

/** Make an input or output of a node in view a port of the subgraph that is in view, or take it back. */
export function togglePort(app: App, side: "input" | "output", node: string, port: string): void {
  const { name, root } = { name: app.inView, root: app.tab.root };
  if (name === null) return;
  app.tab.editRoot((side === "input" ? promote : promoteOutput)(root, name, node, port), "edit.port");
}
