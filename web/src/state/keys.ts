// Keys as they are written ("Mod+Shift+Z"), pressed and shown. Mod is Ctrl, and Command on a Mac, whose own Ctrl is Ctrl.
export const isMac = /Mac|iP(hone|ad)/.test(globalThis.navigator?.platform ?? "");

type Press = Pick<KeyboardEvent, "key" | "code" | "ctrlKey" | "metaKey" | "altKey" | "shiftKey" | "isComposing">
  & { getModifierState?(key: string): boolean };

/**
 * The name of a pressed combination. Empty for a lone modifier, while text is being composed, for a sign that is typed
 * with AltGr, for the key of the system, and for Tab, which moves the focus: without it nobody gets far by keyboard.
 */
export function pressed(event: Press, mac = isMac): string {
  if (event.isComposing || ["Control", "Shift", "Alt", "Meta", "AltGraph", "Process", "Dead", "Unidentified"].includes(event.key)) return "";
  if (event.key === "Tab" && !event.ctrlKey && !event.metaKey && !event.altKey) return "";
  if (!mac && (event.metaKey || event.getModifierState?.("AltGraph"))) return "";
  const mod = mac ? event.metaKey : event.ctrlKey;
  const letter = /^Key[A-Z]$/.test(event.code) && !/^[a-z]$/i.test(event.key) ? event.code.slice(3) : event.key;
  const key = letter === " " ? "Space" : letter.length === 1 ? letter.toUpperCase() : letter;
  // Shift is part of a sign such as "?", and a modifier of letters and named keys.
  const shift = event.shiftKey && (key.length > 1 || /[A-Z0-9]/.test(key));
  return [mod && "Mod", mac && event.ctrlKey && "Ctrl", event.altKey && "Alt", shift && "Shift", key].filter(Boolean).join("+");
}

/** The name of a digit of the row above the letters, whatever sign it types with Shift or without; empty for other keys. */
export function digit(event: Press): string {
  const number = /^Digit([1-9])$/.exec(event.code)?.[1];
  if (!number || event.isComposing || event.ctrlKey || event.metaKey || event.altKey || event.getModifierState?.("AltGraph")) return "";
  return event.shiftKey ? `Shift+${number}` : number;
}

export function shown(keys: string, mac = isMac): string {
  const names: { [part: string]: string } = mac
    ? { Mod: "⌘", Ctrl: "⌃", Alt: "⌥", Shift: "⇧", Enter: "↵" } : { Mod: "Ctrl", Enter: "↵" };
  const arrows: { [part: string]: string } = { ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→", Delete: "Del", Escape: "Esc" };
  return keys.split(/\+(?!$)/).map((part) => names[part] ?? arrows[part] ?? part).join(mac ? "" : "+");
}

/** Whether the keys type nothing, so that they may be a command while a text is being edited. */
export const typesNothing = (keys: string): boolean => /^(Mod|Ctrl|Alt)\+|^F\d+$/.test(keys);

/** Whether a browser keeps the keys for itself: no page ever hears of them. */
export const isKept = (keys: string, mac = isMac): boolean =>
  /^Mod\+(Shift\+)?([NTW]|Tab)$|^Mod\+Q$/.test(keys) || (mac && /^Mod\+[MH]$/.test(keys));

/** Whether typing goes into the focused element, so that single keys are not commands. */
export function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  return target.isContentEditable || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement
    || (target instanceof HTMLInputElement && !["checkbox", "radio", "button", "range", "color", "file"].includes(target.type));
}
