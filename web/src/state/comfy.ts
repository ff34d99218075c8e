// Workflows from ComfyUI: what could not be said on the way is shown until one has read it.
import type { ImportedSentence } from "../api/generated";
import { locale, t } from "../i18n/index.svelte";
import { own } from "../model/document";
import { imported as sentencesInChinese } from "../words/imported.zh";
import type { Imported } from "./carried";
import type { Tab } from "./tab.svelte";

/** What the server says, in the language of the reader where each sentence is known in it; else as the server says it. */
export function inWords(message: string, said: readonly ImportedSentence[], chinese: { [sentence: string]: string }): string {
  const known = locale() === "zh" ? chinese : {};
  const sentences = said.map(({ template, slots }) => own(known, template)?.replace(/\{(\w+)\}/g, (whole, slot: string) => own(slots, slot) ?? whole));
  return sentences.length && !sentences.includes(undefined) ? sentences.join("；") : message;
}

/** Say what became of each node of ComfyUI; drafts keep it until it is closed. */
export function tellImported(tab: Tab, imported: Imported): void {
  const { file: name, nodes } = imported;
  const parts = (["kept", "adjusted", "translated"] as const).flatMap((became) => {
    const lines = nodes.filter((one) => one.became === became).map((one) => ({ ...one, input: null, message: inWords(one.message, one.said, sentencesInChinese) }));
    return lines.length ? [{ heading: t(`report.${became}`, { count: lines.length }), folded: became === "translated", lines }] : [];
  });
  if (parts.every((part) => part.folded)) parts.unshift({ heading: t("report.whole"), folded: false, lines: [] });
  tab.tell({ title: t("report.imported", { name }), parts, action: null }, imported);
}
