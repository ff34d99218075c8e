// Copy, cut and paste: what is copied is a workflow as JSON, so it goes between tabs, windows and chats.
import { t } from "../i18n/index.svelte";
import { DocumentError, parseWorkflow } from "../model/document";
import type { App } from "./app.svelte";
import { placed } from "./arranging";
import { importFiles, takePicture } from "./files";
import { isTyping } from "./keys";

let pastes = 0;

export async function copy(app: App): Promise<void> {
  const text = app.tab.copied();
  if (text === null) return;
  pastes = 0;
  await navigator.clipboard.writeText(text).catch(() => app.toast(t("clip.denied"), "error"));
}

export async function cut(app: App): Promise<void> {
  await copy(app);
  app.tab.deleteChosen();
}

export async function pasteFromClipboard(app: App): Promise<void> {
  const text = await navigator.clipboard.readText().catch(() => null);
  if (text === null) app.toast(t("clip.denied"), "error");
  else pasteText(app, text);
}

/** Paste a text in the middle of what is in view, each further time a little lower. */
export function pasteText(app: App, text: string): void {
  const middle = app.canvas?.middle() ?? { x: 0, y: 0 };
  const shift = pastes * 30 - 120;
  pastes += 1;
  const isFirst = !Object.keys(app.tab.workflow.nodes).length; // there is no view of anything to keep
  try {
    app.tab.paste(placed(app, parseWorkflow(text)), { x: middle.x + shift, y: middle.y + shift });
    app.canvas?.reveal(app.tab.chosen.nodes, isFirst);
  } catch (error) {
    if (!(error instanceof DocumentError)) throw error;
    app.toast(t("clip.no_workflow", { message: error.message }), "error");
  }
}

export function duplicate(app: App): void {
  app.tab.duplicate();
  app.canvas?.reveal(app.tab.chosen.nodes);
}

/** What the browser's own copy, cut and paste do where no text is being edited. */
export function onclipboard(app: App, event: ClipboardEvent): void {
  if (event.defaultPrevented || isTyping(event.target) || app.dialog || app.picking) return;
  if (event.type === "paste") {
    const files = event.clipboardData?.files;
    const text = event.clipboardData?.getData("text/plain");
    if (files?.length) void importFiles(app, files, takePicture);
    else if (text) pasteText(app, text);
    else return;
  } else {
    if (String(getSelection() ?? "") !== "") return;
    const text = app.tab.copied();
    if (text === null) return;
    pastes = 0;
    event.clipboardData?.setData("text/plain", text);
    if (event.type === "cut") app.tab.deleteChosen();
  }
  event.preventDefault();
}
