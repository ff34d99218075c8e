import { describe, expect, it } from "vitest";
import { clashes, keysOf, onlyHere, type Keyed } from "../src/state/keymap";
import { digit, isKept, pressed, shown, typesNothing } from "../src/state/keys";

const press = (key: string, more: object = {}) => ({
  key, code: /^[a-z]$/i.test(key) ? `Key${key.toUpperCase()}` : "", ctrlKey: false, metaKey: false, altKey: false,
  shiftKey: false, isComposing: false, ...more,
});

describe("what is pressed", () => {
  it.each([
    [press("s", { ctrlKey: true }), false, "Mod+S"],
    [press("S", { ctrlKey: true, shiftKey: true }), false, "Mod+Shift+S"],
    [press("?", { shiftKey: true }), false, "?"],
    [press(" "), false, "Space"],
    [press("m", { metaKey: true }), true, "Mod+M"],
    [press("m", { ctrlKey: true }), true, "Ctrl+M"], // not the letter alone
    [press("µ", { altKey: true, code: "KeyM" }), true, "Alt+M"], // what Option makes of a letter on a Mac
    [press("м", { ctrlKey: true, code: "KeyV" }), false, "Mod+V"], // another alphabet
  ])("has a name: %#", (event, mac, keys) => expect(pressed(event, mac)).toBe(keys));

  it.each([
    press("a", { isComposing: true }), press("Process"), press("Shift", { shiftKey: true }), press("Dead"),
    press("Tab"), press("Tab", { shiftKey: true }), // the focus moves, whatever a file of settings makes of it
    press("l", { metaKey: true }), press("@", { ctrlKey: true, altKey: true, getModifierState: (one: string) => one === "AltGraph" }),
  ])("says nothing while text is composed, or the system or the focus is meant: %#", (event) => expect(pressed(event, false)).toBe(""));

  it.each([
    [press("!", { code: "Digit1", shiftKey: true }), "Shift+1"],
    [press("1", { code: "Digit1" }), "1"],
    [press("&", { code: "Digit1" }), "1"], // where digits are typed with Shift
    [press("1", { code: "Digit1", altKey: true }), ""],
    [press("0", { code: "Digit0" }), ""],
    [press("a"), ""],
  ])("is a digit, whatever sign it types: %#", (event, keys) => expect(digit(event)).toBe(keys));

  it("is shown as the machine writes it", () => {
    expect(shown("Mod+Shift+Enter", false)).toBe("Ctrl+Shift+↵");
    expect(shown("Mod+Alt+M", true)).toBe("⌘⌥M");
    expect([shown("+", true), shown("Mod++", true), shown("Mod++", false)]).toEqual(["+", "⌘+", "Ctrl++"]);
  });

  it("is no command while typing unless it types nothing, and never what a browser keeps", () => {
    expect(["Mod+S", "F8", "Alt+N", "S", "Shift+S", "Space", "?"].map(typesNothing)).toEqual([true, true, true, false, false, false, false]);
    expect(["Mod+W", "Mod+Shift+T", "Mod+S", "W"].map((keys) => isKept(keys, false))).toEqual([true, true, false, false]);
    expect([isKept("Mod+M", true), isKept("Mod+M", false)]).toEqual([true, false]);
  });
});

describe("the map of the keys", () => {
  const commands: Keyed[] = [
    { id: "save", keys: ["Mod+S"] }, { id: "redo", keys: ["Mod+Shift+Z", "Mod+Y"] }, { id: "copy", native: "Mod+C" }, { id: "note", keys: ["N"] }, { id: "tidy" },
  ];

  it("has a person's own keys before the usual ones", () => {
    expect(commands.map((one) => keysOf(one, { note: "Alt+1", redo: "", constructor: "X" }))).toEqual([["Mod+S"], [], ["Mod+C"], ["Alt+1"], []]);
    expect(keysOf(commands[2]!, { copy: "Z" })).toEqual(["Mod+C"]);
  });

  it("shows clashes on both sides, and takes keys away where they are not wanted", () => {
    expect(clashes(commands, {}).size).toBe(0);
    const own = { note: "Mod+Y", tidy: "Mod+S" };
    const found = clashes(commands, own);
    expect([...found].map(([id, others]) => [id, others.map((one) => one.id)])).toEqual([
      ["save", ["tidy"]], ["tidy", ["save"]], ["redo", ["note"]], ["note", ["redo"]],
    ]);
    const next = onlyHere(commands, own, commands[3]!);
    expect(keysOf(commands[1]!, next)).toEqual(["Mod+Shift+Z"]);
    expect(keysOf(commands[0]!, onlyHere(commands, own, commands[4]!))).toEqual([]);
    expect(clashes(commands, onlyHere(commands, next, commands[4]!)).size).toBe(0);
  });

  it("cannot take keys from the browser's own copy", () => {
    expect(onlyHere(commands, { note: "Mod+C" }, commands[3]!)).toEqual({ note: "Mod+C" });
  });
});
