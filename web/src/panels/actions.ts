// What the panels do to the editor: workflows opened from runs and pictures, masks painted into the workflow.
import { uploadPath } from "../api/client";
import type { Artifact, ImportedWorkflow, Run } from "../api/generated";
import { t } from "../i18n/index.svelte";
import { readWorkflow } from "../model/document";
import { asList, own } from "../model/document";
import type { Target } from "../model/edit";
import type { App } from "../state/app.svelte";
import { openTab, refreshFiles } from "../state/files";
import { words } from "../state/say";
import { seedOf } from "./receipt";
import { maskInputs, maskName, pictureLink, sources, withMask } from "./masking";

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

/** Paint the mask of a node over its picture: the file that it reads, or what the last run made of it. */
export function paintMask(app: App, to: Target): void {
  const { tab } = app;
  const { picture, mask } = sources(tab.workflow, app.types, to);
  const made = picture ? null : madePicture(app, to.node);
  if (!picture && !made) return app.toast(t("mask.needs_picture", { node: to.node }), "error");
  app.panels.painting = {
    picture: picture ? uploadPath(picture.name) : made!.content,
    saved: mask ? uploadPath(mask.name) : null,
    save: async (painted) => {
      const stored = await app.client.upload(painted, maskName(picture?.name ?? made!.name));
      await refreshFiles(app);
      tab.edit(withMask(tab.workflow, app.types, to, stored.name), "edit.mask");
    },
  };
}

/** The last picture that a run saved of what a node gets: by a node that takes the same output. */
function madePicture(app: App, node: string): Artifact | null {
  const from = pictureLink(app.tab.workflow, app.types, node);
  if (!from || !app.shown) return null;
  for (const [id, spec] of Object.entries(app.tab.workflow.nodes)) {
    const takes = Object.values(spec.links).flatMap(asList).some((one) => one.node === from.node && one.output === from.output);
    const artifact = takes && app.shown.nodes.get(id)?.artifacts.find((one) => one.media_type.startsWith("image/"));
    if (artifact) return artifact;
  }
  return null;
}
