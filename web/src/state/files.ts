// Workflows in and out: stored ones, templates, files, pictures. Nothing is ever written over unseen.
import { ApiFailure } from "../api/client";
import { t } from "../i18n/index.svelte";
import { InexactNumber } from "../lib/exact";
import { isUnplaced } from "../model/arrange";
import { compact, DocumentError, emptyWorkflow, parseWorkflow, readWorkflow, type Workflow } from "../model/document";
import { addNode, describe, setValue } from "../model/edit";
import { freshId } from "../model/names";
import { isPng, pngText } from "../model/picture";
import { spread } from "../model/spread";
import type { App } from "./app.svelte";
import { placed, shapesOf } from "./arranging";
import type { Carried } from "./carried";
import { tellImported } from "./comfy";
import { words } from "./say";
import { Tab } from "./tab.svelte";

/** Open a workflow in a tab of its own, laid out where it says no places: how it is opened is nothing to undo. */
export function openTab(app: App, workflow: Workflow): Tab {
  const blank = app.tabs.length === 1 && app.tab.name === null && app.tab.history.past.length === 0
    && Object.keys(app.tab.root.nodes).length === 0 ? app.tab : null;
  const tab = new Tab(placed(app, workflow));
  app.front(tab);
  if (blank) app.remove(blank);
  return tab;
}

/** The same arrangement with room for nodes that are larger here than where it was made. */
function apart(app: App, workflow: Workflow): Workflow {
  return isUnplaced(workflow) ? workflow : spread(workflow, shapesOf(app, workflow));
}

export function newTab(app: App): void {
  app.front(new Tab(emptyWorkflow()));
}

/** Close a tab. What was not saved can be brought back from the message that says so. */
export function closeTab(app: App, tab: Tab): void {
  const unsaved = tab.dirty && Object.keys(tab.root.nodes).length > 0;
  app.remove(tab);
  if (unsaved) {
    const action = { label: t("tab.bring_back"), run: () => app.front(tab) };
    app.toast(t("tab.closed", { title: tab.title || t("tab.untitled") }), "info", action);
  }
}

export async function openStored(app: App, name: string): Promise<void> {
  const there = app.tabs.find((tab) => tab.name === name);
  if (there) return app.front(there);
  await attempt(app, async () => {
    const { workflow, revision } = await app.client.workflow(name);
    const tab = openTab(app, readWorkflow(workflow));
    tab.name = name;
    tab.revision = revision;
    tab.saved = tab.root;
  });
}

/** Put a stored workflow into the trash; the message that says so brings it back. A tab that has it open keeps it, unsaved. */
export async function deleteStored(app: App, name: string): Promise<void> {
  await attempt(app, async () => {
    const { id } = await app.client.deleteWorkflow(name);
    for (const tab of app.tabs) if (tab.name === name) tab.name = tab.revision = tab.saved = null;
    const back = () => attempt(app, async () => app.toast(t("trash.back", { name: (await app.client.restore(id)).name })));
    app.toast(t("gallery.deleted", { name }), "info", { label: t("gallery.undo"), run: () => void back() });
  });
}

export async function openTemplate(app: App, name: string): Promise<void> {
  await attempt(app, async () => {
    const { workflow } = await app.client.template(name);
    const tab = openTab(app, readWorkflow(workflow));
    tab.saved = tab.workflow; // there is nothing of one's own in it yet
  });
}

/** Save under the tab's name; asks for one where it has none, and what to do where another has saved meanwhile. */
export async function save(app: App, tab: Tab = app.tab): Promise<void> {
  if (tab.name === null) {
    app.dialog = "save";
    return;
  }
  await saveAs(app, tab, tab.name, tab.revision);
}

export async function saveAs(app: App, tab: Tab, name: string, revision: string | null): Promise<void> {
  const { root: workflow } = tab;
  try {
    const stored = await app.client.saveWorkflow(name, { workflow: compact(workflow), revision });
    tab.name = stored.name;
    tab.revision = stored.revision;
    tab.saved = workflow;
    app.dialog = null;
    app.toast(t("save.done", { name: stored.name }));
  } catch (error) {
    if (error instanceof ApiFailure && error.status === 409) app.conflict = { tab, name };
    else app.toast(t("save.failed", { message: words(error) }), "error");
  }
}

export function chooseFile(app: App): void {
  const chooser = document.createElement("input");
  chooser.type = "file";
  chooser.accept = ".json,.png,.webp,.jpg,.jpeg,application/json,image/png,image/webp,image/jpeg";
  chooser.multiple = true;
  chooser.onchange = () => void (chooser.files && importFiles(app, chooser.files, (file) => openFile(app, file)));
  chooser.click();
}

/** What is dropped on the canvas or pasted: workflows are opened, and for pictures one may choose. */
export async function importFiles(app: App, files: FileList, take: (file: File, app: App) => unknown): Promise<void> {
  for (const file of Array.from(files).slice(0, 20)) await take(file, app);
}

/** Open what a file carries, under its name where it has no title; what could not be translated is said. */
export function openCarried(app: App, { file, workflow, nodes, seeds }: Carried): void {
  const titled = workflow.title ? workflow : describe(workflow, { title: file.name.replace(/\.\w+$/, "") });
  const tab = openTab(app, nodes.length ? apart(app, titled) : titled);
  tab.seeds = seeds;
  if (nodes.length) tellImported(tab, { file: file.name, nodes });
}

/** Open the workflow in a JSON file or in a picture. */
export async function openFile(app: App, file: File): Promise<boolean> {
  try {
    openCarried(app, await workflowIn(app, file));
    return true;
  } catch (error) {
    if (!(error instanceof DocumentError)) throw error;
    app.toast(t("import.failed", { name: file.name, message: error.message }), "error", undefined, { about: `import ${file.name}` });
    return false;
  }
}

/** The workflow in a file. Throws DocumentError where it holds none. JPEG and WebP are read by the server. */
async function workflowIn(app: App, file: File): Promise<Carried> {
  const bytes = new Uint8Array(await file.arrayBuffer().catch((error: unknown) => {
    throw new DocumentError(words(error)); // it is gone, may not be read, or is larger than memory
  }));
  if (file.type === "image/jpeg" || file.type === "image/webp") {
    if (!latin1(bytes).includes("nodegraph") && !isFromComfyui(bytes)) throw new DocumentError(t("import.none"));
    return imported(app, file);
  }
  if (isFromComfyui(bytes.subarray(0, 2 ** 22))) return imported(app, file);
  const workflow = parseWorkflow(isPng(bytes) ? await pngText(bytes) : new TextDecoder().decode(bytes));
  return { file, workflow, nodes: [], seeds: {} };
}

const latin1 = (bytes: Uint8Array): string => new TextDecoder("latin1").decode(bytes);

/** Whether a file looks like a workflow of ComfyUI, as JSON or in a picture that it saved; the server translates it. */
function isFromComfyui(bytes: Uint8Array): boolean {
  const text = latin1(bytes);
  return /"class_type"|"last_node_id"/.test(text) && !/"format"\s*:\s*"nodegraph/.test(text);
}

async function imported(app: App, file: File): Promise<Carried> {
  try {
    const { workflow, nodes, seeds } = await app.client.importFile(file);
    return { file, workflow: readWorkflow(workflow), nodes, seeds };
  } catch (error) {
    throw error instanceof ApiFailure || error instanceof InexactNumber ? new DocumentError(error.message) : error;
  }
}

/** A dropped file: a picture that carries a workflow may be opened or used as an input; any other is an input. */
export async function takePicture(file: File, app: App): Promise<void> {
  if (!file.type.startsWith("image/")) {
    await openFile(app, file);
    return;
  }
  const carried = await workflowIn(app, file).catch(() => null);
  if (carried) app.dropped = carried;
  else await addPicture(app, file);
}

/** Upload a picture and add the node that loads it: the one whose input takes a file of the kind `images`. */
export async function addPicture(app: App, file: File): Promise<void> {
  const name = await upload(app, file);
  if (name === null) return;
  for (const type of Object.values(app.types)) {
    const input = type.inputs.find((one) => one.value_schema?.["file"] === "images");
    if (!input) continue;
    const id = freshId(app.tab.workflow, "image");
    const middle = app.canvas?.middle() ?? { x: 0, y: 0 };
    const next = addNode(app.tab.workflow, id, type.name, { x: Math.round(middle.x), y: Math.round(middle.y) });
    app.tab.edit(setValue(next, { node: id, input: input.name }, name), "edit.add");
    app.tab.choose({ nodes: new Set([id]) });
    return;
  }
}

/** Store a picture on the server; the name that a value gives it, or null where it was refused. */
export async function upload(app: App, file: File): Promise<string | null> {
  try {
    const { name } = await app.client.upload(file, file.name);
    await refreshFiles(app);
    return name;
  } catch (error) {
    app.toast(t("upload.failed", { name: file.name, message: words(error) }), "error", undefined, { about: `upload ${file.name}` });
    return null;
  }
}

export async function refreshFiles(app: App): Promise<void> {
  app.files = (await app.client.models()).kinds;
}

async function attempt(app: App, action: () => Promise<void>): Promise<void> {
  try {
    await action();
  } catch (error) {
    app.toast(words(error), "error");
  }
}
