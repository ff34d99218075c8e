// Runs: asking for one, stopping it, and what would be computed if it were asked for now.
import { ApiFailure } from "../api/client";
import { t } from "../i18n/index.svelte";
import { compact, own, type Workflow } from "../model/document";
import { spoken } from "../model/problems";
import { setValue } from "../model/edit";
import { words as spaced } from "../model/names";
import { unseen } from "../model/unseen";
import type { App } from "./app.svelte";
import type { RunView } from "./runs.svelte";
import { words } from "./say";
import { allSeeds, drawSeeds, randomSeed, seedsOf } from "./seeds";
import type { Tab } from "./tab.svelte";

const UNSEEN = "unseen";
const BESIDE = 300; // pixels from a node to the one after it

/** What the message is about that a workflow has problems. */
export const PROBLEMS = "problems";

/** Queue the workflow in view, or only what the given nodes need. Seeds are drawn first and are there to be seen. */
export async function run(app: App, targets: string[] | null = null): Promise<void> {
  const { tab } = app;
  if (!Object.keys(tab.root.nodes).length) return app.toast(t("run.empty"));
  app.untell();
  app.untell(UNSEEN);
  if (app.problems.blocking.length) {
    await isSound(app).catch(() => false); // what the editor has found is told without the server too
    app.toast(() => t("run.problems", { count: app.problems.standing.length }), "error", {
      label: t("command.first_problem"), run: () => nextProblem(app),
    }, { about: PROBLEMS });
    nextProblem(app);
    return;
  }
  tab.editRoot(drawSeeds(tab.root, app.types, tab.seeds, tab.lastSeeds), "edit.seed");
  const { root: workflow } = tab;
  try {
    if (!(await isSound(app))) return nextProblem(app);
    const { id } = await app.client.submit({ workflow: compact(workflow), values: {}, targets, priority: 0 });
    tab.run = id;
    tab.submitted = workflow;
    tab.lastSeeds = { ...tab.lastSeeds, ...allSeeds(workflow, app.types) };
    tab.refuse([]);
    const view = await app.runs.follow(id, true);
    void view.over.then(() => {
      tellPictures(app, tab, view);
      if (!targets) tellUnseen(app, tab, view, workflow);
    });
  } catch (error) {
    if (error instanceof ApiFailure && error.problems.length) {
      tab.refuse(error.problems.map((one) => spoken(one.message, one.node, one.input)));
      nextProblem(app);
    } else app.toast(t("run.refused", { message: words(error) }), "error");
  }
}

/** Where pictures came on nodes that are out of view, a message leads to them. */
function tellPictures(app: App, tab: Tab, view: RunView): void {
  const made = [...view.nodes].filter(([, node]) => node.artifacts.some((one) => one.thumbnail)).map(([id]) => id);
  const inside = tab.path.map((use) => `${use}/`).join("");
  const isShown = (id: string) => id.startsWith(inside) && app.canvas?.shows(id.slice(inside.length).split("/")[0]!);
  if (view.status !== "succeeded" || !made.length || app.tab !== tab || tab.run !== view.id || app.panel || !app.canvas || made.some(isShown)) return;
  app.toast(t("run.elsewhere", { node: spaced(made[0]!.replaceAll("/", " › ")) }), "info", { label: t("run.show"), run: () => app.show(made[0]!) }, { about: "pictures" });
}

/** Where a run has made a picture that nothing shows or saves, a message says which node does. */
function tellUnseen(app: App, tab: Tab, view: RunView, workflow: Workflow): void {
  const found = view.status === "succeeded" && app.tab === tab && tab.run === view.id ? unseen(workflow, app.types) : null;
  if (!found) return;
  const { node, output } = found.from;
  const text = t(found.isPicture ? "run.unseen" : "run.unseen_latent", { node: spaced(node), output: spaced(output) });
  const add = () => {
    const place = own(workflow.layout, node) ?? { x: 0, y: 0 };
    app.add("PreviewImage", { x: place.x + BESIDE, y: place.y }, { side: "output", node, name: output }, "image");
  };
  const action = found.isPicture && !tab.path.length ? { label: t("run.add_preview"), run: add } : undefined;
  app.toast(text, "info", action, { about: UNSEEN });
}

export async function cancel(app: App): Promise<void> {
  const shown = app.shown;
  if (!shown?.active) return;
  try {
    await app.client.cancel(shown.id);
  } catch (error) {
    app.toast(words(error), "error");
  }
}

/** Draw every seed of the workflow anew. */
export function newSeeds(app: App): void {
  let next = app.tab.workflow;
  for (const address of Object.keys(seedsOf(next, app.types))) {
    const dot = address.lastIndexOf(".");
    next = setValue(next, { node: address.slice(0, dot), input: address.slice(dot + 1) }, randomSeed());
  }
  app.tab.edit(next, "edit.seed");
}

let visited = -1;

/** Go to a problem; each time to the next one. */
export function nextProblem(app: App): void {
  const all = app.problems.all.filter((one) => one.node !== null);
  if (!all.length) {
    app.panel = "problems";
    return;
  }
  visited = (visited + 1) % all.length;
  app.show(all[visited]!.node!, all[visited]!.input);
}

let asked = 0;

/** Ask what the server finds wrong and which results are there already, so that the nodes show it before a run. */
export async function plan(app: App): Promise<void> {
  const { tab } = app;
  const { root: workflow } = tab;
  const number = (asked += 1);
  if (!Object.keys(workflow.nodes).length) {
    tab.cached = null;
    return;
  }
  try {
    if (!(await isSound(app)) || app.problems.blocking.length) {
      tab.cached = null;
      return;
    }
    const { nodes } = await app.client.plan({ workflow: compact(workflow), values: {}, targets: null });
    if (number === asked) tab.cached = new Set(nodes.filter((one) => one.cached).map((one) => one.node));
  } catch (error) {
    if (!(error instanceof ApiFailure)) throw error;
    tab.cached = null;
  }
}

/** Ask the server what is wrong with the workflow in view, and show it; true where nothing is. */
async function isSound(app: App): Promise<boolean> {
  const { tab } = app;
  const { root: workflow } = tab;
  const { problems } = await app.client.check({ workflow: compact(workflow), values: {} });
  if (tab.root === workflow) tab.refuse(problems.map((one) => spoken(one.message, one.node, one.input)));
  return problems.length === 0;
}

/** Put what the run printed on the clipboard, for a report of a fault. */
export async function copyLog(app: App): Promise<void> {
  if (!app.tab.run) return;
  try {
    await navigator.clipboard.writeText(await app.client.log(app.tab.run));
    app.toast(t("node.log_copied"));
  } catch (error) {
    app.toast(words(error), "error");
  }
}
