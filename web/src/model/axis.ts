// The values of one axis of a grid, as they are written in the editor: for texts one a line, of choices a subset, else 1,3,5 or 1..5.
import type { JsonValue } from "./document";
import type { Widget } from "./value";

const NUMBER = "(-?\\d{1,40}(?:\\.\\d{1,40})?)";
const RANGE = new RegExp(`^\\s*${NUMBER}\\.\\.${NUMBER}(?::${NUMBER})?\\s*$`);
const TINY = 1e-9;

export const isLines = (widget: Widget): boolean => ["text", "line", "file", "color"].includes(widget.kind);

/** What can be chosen; null where values are written. */
export const choicesOf = (widget: Widget): readonly JsonValue[] | null =>
  widget.kind === "choice" ? widget.choices : widget.kind === "switch" ? [true, false] : null;

const lines = (text: string): string[] => text.split("\n").map((line) => line.trim()).filter(Boolean);

/** The values as the server reads them: texts as a JSON list, so that a comma in one is a part of it. */
export const axisText = (widget: Widget, text: string): string => (isLines(widget) ? JSON.stringify(lines(text)) : text);

/** How many values there are; 0 where they cannot be counted. */
export function axisCount(widget: Widget, text: string): number {
  if (isLines(widget)) return lines(text).length;
  if (!text.trim()) return 0;
  if (text.trimStart().startsWith("[")) {
    try {
      return (JSON.parse(text) as unknown[]).length;
    } catch {
      return 0;
    }
  }
  const range = RANGE.exec(text);
  if (!range) return text.split(",").length;
  const [low, high, step] = [Number(range[1]), Number(range[2]), Number(range[3] ?? 1)];
  return step > 0 && high >= low ? Math.floor((high - low) / step + TINY) + 1 : 0;
}
