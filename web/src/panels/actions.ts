// What the panels do to the editor: workflows opened from runs and pictures, masks painted into the workflow.
import { uploadPath } from "../api/client";
import type { Artifact, ImportedWorkflow, Run } from "../api/generated";
import { t } from "../i18n/index.svelte";
import { asList, compact, own, readWorkflow, type Workflow } from "../model/document";
import type { Target } from "../model/edit";
import { neededFor } from "../model/needed";
import type { App } from "../state/app.svelte";
import { shapesOf } from "../state/arranging";
import { openTab, refreshFiles } from "../state/files";
import { words } from "../state/say";
import { allSeeds } from "../state/seeds";
import type { Tab } from "../state/tab.svelte";
import { seedOf } from "./receipt";
import { maskInputs, maskName, pictureLink, sources, withMask, withoutUnread } from "./masking";

const SAVE = "SaveImage";

/** Bring the workflow of a run into view, with the state of its nodes. */
export async function showRun(app: App, run: Run): Promise<void> {
  const there = app.tabs.find((tab) => tab.run === run.id);
  if (there) return app.front(there);
  try {
    const { workflow } = await app.client.runWorkflow(run.id);
    const tab = openTab(app, readWorkflow(workflow));
    tab.run = run.id;
    await app.runs.follow(run.id, true);
  } catch (error) {
    app.toast(words(error), "error");
  }
}

/** Open the workflow that made a picture. */
export function showArtifact(app: App, workflow: ImportedWorkflow["workflow"], artifact: Artifact): void {
  try {
    const tab = openTab(app, readWorkflow(workflow));
    if (artifact.run === null) return;
    tab.run = artifact.run;
    // The run may be forgotten while its picture is still there.
    app.runs.follow(artifact.run, true).catch(() => (tab.run = null));
  } catch (error) {
    app.toast(words(error), "error");
  }
}

/** Ask what made a picture, and open that workflow. */
export async function openMaker(app: App, artifact: Artifact): Promise<void> {
  try {
    showArtifact(app, (await app.panels.gallery.origin(artifact)).workflow, artifact);
  } catch (error) {
    app.toast(words(error), "error");
  }
}

/** Put the seed that made a picture on the clipboard. */
export async function copySeed(app: App, artifact: Artifact): Promise<void> {
  try {
    const seed = seedOf((await app.panels.gallery.origin(artifact)).workflow);
    if (seed === null) return app.toast(t("gallery.no_seed", { name: artifact.name }));
    await navigator.clipboard.writeText(String(seed));
    app.toast(t("gallery.seed_copied", { seed }));
  } catch (error) {
    app.toast(words(error), "error");
  }
}

/** Look at a picture large, among others. */
export function enlarge(app: App, artifact: Artifact, among: readonly Artifact[]): void {
  app.panels.among = among;
  app.large = artifact;
}

/** The input of a node for which a mask can be painted; null where it has none. */
export function paintable(app: App, node: string): Target | null {
  const spec = own(app.tab.workflow.nodes, node);
  const input = spec && maskInputs(app.types, spec.type)[0];
  return input && pictureLink(app.tab.workflow, app.types, node) ? { node, input } : null;
}

/** Paint the mask of a node over the picture that it gets: the file as it is, or what comes of it on the way. */
export async function paintMask(app: App, to: Target): Promise<void> {
  const { tab } = app;
  const { root, path, workflow } = tab;
  const { picture, mask } = sources(workflow, app.types, to);
  const made = picture ? null : await madePicture(app, to.node);
  if (!picture && !made) return;
  // Who went elsewhere meanwhile is not to be torn away from there.
  if (app.tab !== tab || tab.root !== root || tab.path !== path) return app.toast(t("mask.made", { node: to.node }));
  app.panels.painting = {
    picture: picture ? uploadPath(picture.name) : made!.artifact.content,
    saved: mask ? uploadPath(mask.name) : null,
    save: async (painted) => {
      const stored = await app.client.upload(painted, maskName(picture?.name ?? made!.artifact.name));
      await refreshFiles(app);
      const [old] = asList(own(own(tab.workflow.nodes, to.node)?.links ?? {}, to.input));
      const masked = withMask(tab.workflow, app.types, to, stored.name, (all, id) => measured(app, all, id));
      // In a subgraph, what no node reads may be one of its outputs.
      const next = old && !path.length ? withoutUnread(masked, app.types, old.node) : masked;
      tab.edit(next, "edit.mask");
      const gone = Object.keys(masked.nodes).filter((id) => !Object.hasOwn(next.nodes, id)).join(", ");
      const saved = t(gone ? "mask.saved_instead" : "mask.saved", { node: to.node, gone });
      app.say(saved);
      app.toast(saved, "info", undefined, { about: "mask" });
      if (made) keepSeeds(app, tab, made.seeds);
    },
  };
}

const measured = (app: App, workflow: Workflow, id: string) =>
  (app.canvas && Object.hasOwn(app.tab.workflow.nodes, id) ? app.canvas.sizeOf(id) : shapesOf(app, workflow)(id));

/** Draw no more seeds of what a picture is made of: the next run would lay the mask over another one. */
function keepSeeds(app: App, tab: Tab, addresses: readonly string[]): void {
  const drawn = addresses.filter((one) => (tab.seeds[one] ?? "fixed") !== "fixed");
  for (const one of drawn) tab.setSeedMode(one, "fixed");
  if (drawn.length) app.toast(t("mask.seeds_kept", { seeds: drawn.join(", ") }), "info", undefined, { about: "seeds" });
}

/** Run what the picture of a node needs, shown on the nodes meanwhile, and save it, and say which seeds it is made of; null where that fails or is stopped. What is there already is not made again. */
async function madePicture(app: App, node: string): Promise<{ artifact: Artifact; seeds: string[] } | null> {
  const { tab } = app;
  const from = pictureLink(tab.workflow, app.types, node);
  if (!from) return null;
  const before = tab.run;
  const { workflow, target } = neededFor(tab.root, tab.path, from, { type: SAVE, input: "image", values: { name: `${node} gets` } });
  try {
    const { id } = await app.client.submit({ workflow: compact(workflow), values: {}, targets: [target], priority: 0 });
    const view = await app.runs.follow(id, true);
    tab.run = id;
    if (view.active) app.toast(t("mask.making", { node }), "info", { label: t("command.cancel"), run: () => void app.client.cancel(id) }, { about: id, stays: true });
    await view.over;
    app.untell(id);
    // What was shown comes back; of a failure, the node that failed stays in view.
    if (tab.run === id && view.status !== "failed") tab.run = before;
    if (view.status === "failed") throw new Error(view.error?.message ?? "");
    // One that was saved before is told of by the run as a whole.
    const { artifacts } = await app.client.run(id);
    const artifact = artifacts.find((one) => one.node === target && one.media_type.startsWith("image/"));
    return artifact ? { artifact, seeds: Object.keys(allSeeds(workflow, app.types)) } : null;
  } catch (error) {
    app.toast(t("mask.no_picture_made", { node, message: words(error) }), "error");
    return null;
  }
}
