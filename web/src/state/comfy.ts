// Workflows from ComfyUI: what could not be said on the way is shown until one has read it.
import type { ImportedNode } from "../api/generated";
import { t } from "../i18n/index.svelte";
import type { App } from "./app.svelte";
import type { Tab } from "./tab.svelte";

/** Say what became of each node of ComfyUI. */
export function tellImported(app: App, tab: Tab, name: string, nodes: ImportedNode[]): void {
  const parts = (["kept", "adjusted", "translated"] as const).flatMap((became) => {
    const lines = nodes.filter((one) => one.became === became).map((one) => ({ ...one, input: null }));
    return lines.length ? [{ heading: t(`report.${became}`, { count: lines.length }), folded: became === "translated", lines }] : [];
  });
  if (parts.every((part) => part.folded)) parts.unshift({ heading: t("report.whole"), folded: false, lines: [] });
  app.report = { title: t("report.imported", { name }), tab, parts, action: null };
}
