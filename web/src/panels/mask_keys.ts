// The keys of the mask painter.
import { ARROWS } from "./cursor";
import type { Tool } from "./MaskTools.svelte";

/** What the keys do. */
export interface Painter {
  undo(): void;
  redo(): void;
  done(): void;
  leave(): void;
  /** Make the brush larger or smaller, its edge softer or harder. */
  resize(step: number): void;
  soften(step: number): void;
  take(tool: Tool): void;
  /** Take the eraser for the brush, or the brush again. */
  swap(): void;
  fill(value: 0 | 255): void;
  invert(): void;
  /** Show the picture larger or smaller by a factor; null shows all of it. */
  zoom(factor: number | null): void;
  /** Move the brush as the arrow key says. */
  step(event: KeyboardEvent): void;
  space(repeated: boolean): void;
}

const TOOLS: { [letter: string]: Tool } = { b: "brush", e: "eraser", f: "bucket" };

/** What to do with a pressed key; all are kept from the editor behind the painter. */
export const keysFor = (painter: Painter) => (event: KeyboardEvent): void => {
  event.stopPropagation();
  if (!event.isComposing && takes(event, painter)) event.preventDefault();
};

/** Do what a key says; whether it says something. */
function takes(event: KeyboardEvent, painter: Painter): boolean {
  const target = event.target as HTMLElement;
  const command = event.ctrlKey || event.metaKey;
  const letter = event.key.toLowerCase();
  if (command && letter === "z") (event.shiftKey ? painter.redo : painter.undo)();
  else if (command && letter === "y") painter.redo();
  else if (command && letter === "enter") painter.done();
  else if (event.key === "Escape") painter.leave();
  else if (command || event.altKey || (target.matches("input") && event.key.startsWith("Arrow"))) return false;
  else if (event.key === "[" || event.key === "{") event.key === "{" || event.shiftKey ? painter.soften(-0.1) : painter.resize(-1);
  else if (event.key === "]" || event.key === "}") event.key === "}" || event.shiftKey ? painter.soften(0.1) : painter.resize(1);
  else if (Object.hasOwn(TOOLS, letter)) painter.take(TOOLS[letter]!);
  else if (letter === "x") painter.swap();
  else if (letter === "a") painter.fill(255);
  else if (letter === "i") painter.invert();
  else if (event.key === "Delete" || event.key === "Backspace") painter.fill(0);
  else if (event.key === "0") painter.zoom(null);
  else if (event.key === "+" || event.key === "=") painter.zoom(1.4);
  else if (event.key === "-") painter.zoom(1 / 1.4);
  else if (ARROWS.has(event.key)) painter.step(event);
  else if (event.key === " " && !target.matches("button")) painter.space(event.repeat);
  else return false;
  return true;
}
