// Words in the language of the reader: t(key) with {slots} filled in.
import { keepText, kept } from "./kept";
import { answers as answersEn } from "../words/answers.en";
import { answers as answersZh } from "../words/answers.zh";
import { comfy as comfyEn } from "../words/comfy.en";
import { comfy as comfyZh } from "../words/comfy.zh";
import { editor as editorEn } from "../words/editor.en";
import { editor as editorZh } from "../words/editor.zh";
import { nodes as nodesEn } from "../words/nodes.en";
import { nodes as nodesZh } from "../words/nodes.zh";
import { panels as panelsEn } from "../words/panels.en";
import { panels as panelsZh } from "../words/panels.zh";
import { places as placesEn } from "../words/places.en";
import { places as placesZh } from "../words/places.zh";
import { tools as toolsEn } from "../words/tools.en";
import { tools as toolsZh } from "../words/tools.zh";
import { settings as settingsEn } from "../words/settings.en";
import { settings as settingsZh } from "../words/settings.zh";

export const LOCALES = { en: "English", zh: "中文" } as const;
export type Locale = keyof typeof LOCALES;
export const WORDS: { [locale in Locale]: { [key: string]: string } } = {
  en: { ...answersEn, ...editorEn, ...panelsEn, ...comfyEn, ...nodesEn, ...placesEn, ...settingsEn, ...toolsEn },
  zh: { ...answersZh, ...editorZh, ...panelsZh, ...comfyZh, ...nodesZh, ...placesZh, ...settingsZh, ...toolsZh },
};
const KEY = "nodegraph.locale";

function first(): Locale {
  const chosen = kept(KEY);
  if (chosen && Object.hasOwn(LOCALES, chosen)) return chosen as Locale;
  return globalThis.navigator?.language?.startsWith("zh") ? "zh" : "en";
}

const begin = first();
if (globalThis.document) document.documentElement.lang = begin;
let current = $state<Locale>(begin);

export const locale = (): Locale => current;

export function setLocale(next: Locale): void {
  current = next;
  keepText(KEY, next);
  document.documentElement.lang = next;
}

/** The words of a key, its slots filled in; for a `count` of one those of `KEY.one` where the language has them. */
export function t(key: string, slots: { [slot: string]: string | number } = {}): string {
  const single = slots["count"] === 1 ? WORDS[current][`${key}.one`] : undefined;
  const text = single ?? WORDS[current][key] ?? WORDS.en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, slot: string) => String(slots[slot] ?? whole));
}
