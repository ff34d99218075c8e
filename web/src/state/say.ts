// Problems, reasons and errors in words, and texts as downloads.
import { locale, t } from "../i18n/index.svelte";
import type { Misfit } from "../model/fit";
import { words as spaced } from "../model/names";
import type { Problem } from "../model/problems";
import type { RunView } from "./runs.svelte";

export function say(problem: Problem): string {
  const text = problem.key ? t(problem.key, problem.slots) : String(problem.slots["message"]);
  return problem.inside ? `${spaced(problem.inside)}: ${text}` : text;
}

export const reason = ({ key, needs = "", gives = "" }: Misfit): string => t(key, { needs, gives });

/** A time such as 4 ms, 2.5 s or 1 min 20 s. */
export function seconds(value: number): string {
  if (value >= 60) return t("time.minutes", { minutes: Math.floor(value / 60), seconds: Math.round(value % 60) });
  if (value < 0.0995) return t("time.milliseconds", { milliseconds: value < 0.001 ? "<1" : Math.round(value * 1000) });
  return t("time.seconds", { seconds: value.toLocaleString(locale(), { maximumFractionDigits: value < 10 ? 2 : 1 }) });
}

/** How a run stands, in a few words; nothing where there is none. */
export function told(run: RunView | undefined): string {
  if (!run) return "";
  if (run.retrying) return t("run.retrying");
  if (run.status === "succeeded") return run.seconds === null ? t("run.succeeded") : t("run.took", { time: seconds(run.seconds) });
  return t(`run.${run.status}`);
}

/** What else people call a thing, in the words of the reader; nothing where none are known. */
export function alsoCalled(what: string): string[] {
  const also = t(`also.${what}`);
  return also === `also.${what}` ? [] : also.split(", ");
}

/** What an error says. */
export const words = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Hand a text to the browser as a download. */
export function offer(name: string, text: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
