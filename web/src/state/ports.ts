// What is done to one port: linked by tapping it and another, and the commands of its menu.
import { t } from "../i18n/index.svelte";
import { asList, own, type Link } from "../model/document";
import { unlink, unlinkInput, type Point } from "../model/edit";
import { words } from "../model/names";
import { promoted, promotedOutput } from "../model/subgraph";
import type { App } from "./app.svelte";
import type { Command } from "./commands";
import type { End } from "./linking.svelte";
import { openConnect, openSearch } from "./pickers";
import { reason } from "./say";
import { togglePort } from "./subgraphs";

/** Begin a link at a port that was tapped, end it at one that fits, or let it go where that is the same port again. */
export function tapPort(app: App, end: End): void {
  const { linking, wires } = app;
  const from = linking.tapped ? linking.from : null;
  if (from && from.side === end.side && from.node === end.node && from.name === end.name) return linking.end();
  if (!from || from.side === end.side) {
    linking.begin(end, wires, true);
    return app.say(t(end.side === "output" ? "tap.input" : "tap.output", { port: portTitle(end) }));
  }
  const [output, input] = from.side === "output" ? [from, end] : [end, from];
  const link = { from: { node: output.node, output: output.name }, to: { node: input.node, input: input.name } };
  const misfit = wires.misfit(link.from, link.to);
  if (misfit) return app.toast(reason(misfit), "info");
  linking.end();
  app.connect(link.from, link.to);
}

export const portTitle = (end: End): string => `${words(end.node)} · ${words(end.name)}`;

/** Take every link of a port away. */
function unlinkPort(app: App, end: End): void {
  const { tab } = app;
  if (end.side === "input") return tab.edit(unlinkInput(tab.workflow, { node: end.node, input: end.name }), "edit.unlink");
  const from: Link = { node: end.node, output: end.name };
  let next = tab.workflow;
  for (const [node, spec] of Object.entries(tab.workflow.nodes)) {
    for (const [input, there] of Object.entries(spec.links)) {
      if (asList(there).some((one) => one.node === from.node && one.output === from.output)) next = unlink(next, from, { node, input });
    }
  }
  tab.edit(next, "edit.unlink");
}

/** Whether a port has a link. */
function isLinked(app: App, end: End): boolean {
  const { nodes } = app.tab.workflow;
  if (end.side === "input") return own(own(nodes, end.node)?.links ?? {}, end.name) !== undefined;
  return Object.values(nodes).some((spec) =>
    Object.values(spec.links).some((there) => asList(there).some((one) => one.node === end.node && one.output === end.name)));
}

/** What the menu of a port, opened at a place on the screen, offers. */
export function portCommands(app: App, end: End, at: Point): (Command | "-")[] {
  const entry = (id: string, run: () => void, can = true): Command => ({ id, group: "node", can: () => can, run });
  const definition = app.inView === null ? undefined : app.tab.root.subgraphs[app.inView];
  const shown = definition && (end.side === "input" ? promoted : promotedOutput)(definition, end.node, end.name) !== null;
  return [
    entry("link_port", () => openConnect(app, end)), entry("add_at_port", () => openSearch(app, at, end)),
    entry("unlink_port", () => unlinkPort(app, end), isLinked(app, end)),
    ...(definition ? ["-" as const, entry(shown ? "hide_port" : "show_port", () => togglePort(app, end.side, end.node, end.name))] : []),
  ];
}
