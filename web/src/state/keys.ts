// Keys as they are written ("Mod+Shift+Z"), pressed and shown. Mod is Ctrl, and Command on a Mac.
export const isMac = /Mac|iP(hone|ad)/.test(navigator.platform);

/** The name of a pressed combination; empty for a lone modifier and while text is being composed. */
export function pressed(event: KeyboardEvent): string {
  if (event.isComposing || ["Control", "Shift", "Alt", "Meta"].includes(event.key)) return "";
  const mod = isMac ? event.metaKey : event.ctrlKey;
  const letter = /^Key[A-Z]$/.test(event.code) && !/^[a-z]$/i.test(event.key) ? event.code.slice(3) : event.key;
  const key = letter === " " ? "Space" : letter.length === 1 ? letter.toUpperCase() : letter;
  // Shift is part of a sign such as "?", and a modifier of letters and named keys.
  const shift = event.shiftKey && (key.length > 1 || /[A-Z0-9]/.test(key));
  return [mod && "Mod", event.altKey && "Alt", shift && "Shift", key].filter(Boolean).join("+");
}

export function shown(keys: string): string {
  const names: { [part: string]: string } = isMac
    ? { Mod: "⌘", Alt: "⌥", Shift: "⇧", Enter: "↵" } : { Mod: "Ctrl", Enter: "↵" };
  const arrows: { [part: string]: string } = { ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→", Delete: "Del", Escape: "Esc" };
  return keys.split("+").map((part) => names[part] ?? arrows[part] ?? part).join(isMac ? "" : "+");
}

/** Whether typing goes into the focused element, so that single keys are not commands. */
export function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  return target.isContentEditable || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement
    || (target instanceof HTMLInputElement && !["checkbox", "radio", "button", "range", "color", "file"].includes(target.type));
}
