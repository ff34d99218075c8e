// Workflows as files: JSON, a call for programs, and what ComfyUI reads.
import type { ExportProblem } from "../api/generated";
import { t } from "../i18n/index.svelte";
import { compact, dumpWorkflow } from "../model/document";
import { specAt } from "../model/subgraph";
import { exported } from "../words/exported.zh";
import type { App } from "./app.svelte";
import { inWords } from "./comfy";
import { offer, words } from "./say";
import type { Tab } from "./tab.svelte";

export function download(app: App): void {
  offer(`${fileName(app.tab)}.json`, dumpWorkflow(app.tab.root));
}

/** The same as a body for `POST /api/runs`, for programs. */
export function downloadCall(app: App): void {
  offer(`${fileName(app.tab)}-run.json`, `${JSON.stringify({ workflow: compact(app.tab.root) }, null, 2)}\n`);
}

const fileName = (tab: Tab): string => (tab.title || "workflow").replace(/[^\p{L}\p{M}\p{N}\u200c\u200d _-]+/gu, "").trim().replaceAll(" ", "_") || "workflow";

/** Write the workflow for ComfyUI; what it has nothing like is said before anything is downloaded. */
export async function exportForComfyui(app: App): Promise<void> {
  const { tab } = app;
  const name = `${fileName(tab)}-comfyui.json`;
  try {
    const { prompt, problems } = await app.client.exportComfyui({ workflow: compact(tab.root) });
    const download = () => offer(name, `${JSON.stringify(prompt, null, 2)}\n`);
    if (problems.length) return tellUnsaid(tab, problems, download);
    download();
    app.toast(t("report.done"));
  } catch (error) {
    app.toast(t("report.failed", { message: words(error) }), "error");
  }
}

function tellUnsaid(tab: Tab, problems: ExportProblem[], download: () => void): void {
  const lines = problems.map((one) => ({ ...one, message: inWords(one.message, one.said ? [one.said] : [], exported), type: (one.node && specAt(tab.root, one.node)?.type) || "" }));
  const run = () => {
    download();
    tab.tell(null);
  };
  tab.tell({
    title: t("report.exported", { name: tab.title || t("tab.untitled") }),
    parts: [{ heading: t("report.unsaid"), folded: false, lines }],
    action: { label: t("report.download"), run },
  });
}
