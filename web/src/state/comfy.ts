// Workflows from ComfyUI and for it: what could not be said on the way is shown until one has read it.
import type { ApiProblem, ImportedNode } from "../api/generated";
import { t } from "../i18n/index.svelte";
import { compact } from "../model/document";
import { specAt } from "../model/subgraph";
import type { App } from "./app.svelte";
import { fileName, offer, words } from "./files";
import type { Tab } from "./tab.svelte";

/** One line of a report: a node of the tab (null where it is about more than one), and what is said of it. */
export interface Line {
  node: string | null;
  input: string | null;
  type: string;
  message: string;
}
export interface Report {
  title: string;
  tab: Tab;
  /** Lines under their headings; those of a folded part are shown when asked for. */
  parts: { heading: string; folded: boolean; lines: Line[] }[];
  /** What is offered below; null where nothing is. */
  action: { label: string; run: () => void } | null;
}

/** Say what became of each node of ComfyUI. */
export function tellImported(app: App, tab: Tab, name: string, nodes: ImportedNode[]): void {
  const parts = (["kept", "adjusted", "translated"] as const).flatMap((became) => {
    const lines = nodes.filter((one) => one.became === became).map((one) => ({ ...one, input: null }));
    return lines.length ? [{ heading: t(`report.${became}`, { count: lines.length }), folded: became === "translated", lines }] : [];
  });
  if (parts.every((part) => part.folded)) parts.unshift({ heading: t("report.whole"), folded: false, lines: [] });
  app.report = { title: t("report.imported", { name }), tab, parts, action: null };
}

/** Write the workflow for ComfyUI; what it has nothing like is said before anything is downloaded. */
export async function exportForComfyui(app: App): Promise<void> {
  const { tab } = app;
  const name = `${fileName(tab)}-comfyui.json`;
  try {
    const { prompt, problems } = await app.client.exportComfyui({ workflow: compact(tab.root) });
    const download = () => offer(name, `${JSON.stringify(prompt, null, 2)}\n`);
    if (problems.length) return tellUnsaid(app, tab, problems, download);
    download();
    app.toast(t("report.done"));
  } catch (error) {
    app.toast(t("report.failed", { message: words(error) }), "error");
  }
}

function tellUnsaid(app: App, tab: Tab, problems: ApiProblem[], download: () => void): void {
  const lines = problems.map((one) => ({ ...one, type: (one.node && specAt(tab.root, one.node)?.type) || "" }));
  const run = () => {
    download();
    app.report = null;
  };
  app.report = {
    title: t("report.exported", { name: tab.title || t("tab.untitled") }),
    tab,
    parts: [{ heading: t("report.unsaid"), folded: false, lines }],
    action: { label: t("report.download"), run },
  };
}
