// Settings out to a file and in from one. What is taken in can be taken back.
import { locale, setLocale, t, type Locale } from "../i18n/index.svelte";
import { dumpSettings, MOST, parseSettings, SettingsRefused, USUAL, type Choices } from "../model/settings";
import type { App } from "./app.svelte";
import { COMMANDS } from "./commands";
import { offer } from "./say";

export function exportSettings(app: App): void {
  offer("nodegraph-settings.json", dumpSettings(app.settings.all, locale()));
}

/** Take the settings in a file into use. Returns what is wrong with it, in words; nothing has changed then. */
export async function importSettings(app: App, file: File): Promise<string[]> {
  try {
    const { choices, language } = parseSettings(await file.slice(0, MOST + 1).text(), new Set(COMMANDS.map((one) => one.id)));
    change(app, { ...choices, recent: app.settings.recent }, language as Locale | null, t("settings.imported", { name: file.name }));
    return [];
  } catch (error) {
    if (!(error instanceof SettingsRefused)) throw error;
    return error.problems.map(({ key, slots }) => t(key, slots));
  }
}

export function resetSettings(app: App): void {
  change(app, { ...USUAL, recent: app.settings.recent }, null, t("settings.reset"));
}

function change(app: App, choices: Choices, language: Locale | null, told: string): void {
  const before = app.settings.all;
  const spoken = locale();
  app.settings.set(choices);
  if (language) setLocale(language);
  app.dialog = null;
  app.toast(told, "info", {
    label: t("settings.undone"),
    run: () => {
      app.settings.set(before);
      setLocale(spoken);
    },
  });
}
