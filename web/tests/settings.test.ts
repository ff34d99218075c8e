import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { t } from "../src/i18n/index.svelte";
import { dumpSettings, MOST, parseSettings, readSettings, SettingsRefused, USUAL } from "../src/model/settings";

const COMMANDS = new Set(["save", "run", "mute"]);
const file = (settings: unknown, rest: object = {}) => JSON.stringify({ format: "nodegraph settings", version: 1, settings, ...rest });

/** Lists in lists, too deep for whatever goes down into them. */
const DEEP = "[".repeat(30_000) + "]".repeat(30_000);

/** What is said of a file that is refused. */
function refusal(text: string): string[] {
  try {
    parseSettings(text, COMMANDS);
  } catch (error) {
    if (error instanceof SettingsRefused) return error.problems.map(({ key, slots }) => t(key, slots));
    throw error;
  }
  return [];
}

describe("a file of settings", () => {
  it("brings back what was exported, but for what was used recently", () => {
    const mine = { ...USUAL, theme: "light", motion: "reduced", scale: 1.3, snap: true, recent: ["Sampler"], keys: { save: "Mod+Alt+S", mute: "" } } as const;
    const { choices, language } = parseSettings(dumpSettings({ ...mine, recent: [...mine.recent] }, "zh"), COMMANDS);
    expect(choices).toEqual({ ...mine, recent: [] });
    expect(language).toBe("zh");
    expect(parseSettings(file({}), COMMANDS)).toEqual({ choices: USUAL, language: null });
  });

  it.each([
    ["not json", "it is no JSON"],
    ["[]", "another kind of file"],
    ["null", "another kind of file"],
    ['{"format": "nodegraph", "version": 1}', "another kind of file"],
    [file({}, { version: 2 }), "it is of version 2"],
    [file({}, { version: undefined }), "it is of version none"],
    [`{"format": "nodegraph settings", "version": ${DEEP}, "settings": {}}`, "it is of version ?"],
    [`{"format": "nodegraph settings", "version": 1e999, "settings": {}}`, "it is of version Infinity"],
    [file([]), '"settings" must be an object'],
    [file({ theme: "pink" }), '"theme" must be one of system, dark, light'],
    [file({ scale: 90 }), '"scale" must be one of 0.85, 1, 1.15, 1.3, 1.5'],
    [file({ scale: "1" }), '"scale" must be one of'],
    [file({ language: "xx" }), '"language" must be one of en, zh'],
    [file({ language: ["en"] }), '"language" must be one of en, zh'],
    [file({ language: { toString: 1 } }), '"language" must be one of en, zh'],
    ...["language", "theme", "scale", "snap", "keys", "unknown"].map((name): [string, string] => [
      `{"format": "nodegraph settings", "version": 1, "settings": {"${name}": ${DEEP}}}`, `"${name}"`]),
    [`{"format": "nodegraph settings", "version": 1, "settings": ${DEEP}}`, '"settings" must be an object'],
    [`{"format": "nodegraph settings", "version": 1, "settings": {"keys": {"save": ${DEEP}}}}`, 'the keys of "save"'],
    [file({ snap: "yes" }), '"snap" must be true or false'],
    [file({ recent: ["Sampler"] }), 'no setting "recent"'],
    [file({ colour: "red" }), 'no setting "colour"'],
    [file({ ["toString"]: true }), 'no setting "toString"'],
    ['{"format": "nodegraph settings", "version": 1, "settings": {"__proto__": {"theme": "dark"}}}', 'no setting "__proto__"'],
    [file({ keys: "Mod+S" }), '"keys" must be an object'],
    [file({ keys: { format_disk: "Mod+S" } }), 'no command "format_disk"'],
    [file({ keys: { save: 7 } }), 'the keys of "save"'],
    [file({ keys: { save: "Hyper+S" } }), 'the keys of "save"'],
    [file({ keys: { save: "Mod+S ".repeat(100) } }), 'the keys of "save"'],
    [" ".repeat(MOST + 1), "larger than 64 kB"],
  ])("that is not one is refused in words: %#", (text, said) => {
    const told = refusal(text);
    expect(told.join("\n")).toContain(said);
    expect(told.join("")).not.toMatch(/settings\.refused|\{/);
  });

  it("is told all that is wrong with it, and of very much a part", () => {
    expect(refusal(file({ theme: 1, snap: 2, keys: { a: "b", save: "" } }))).toHaveLength(3);
    const many = Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`x${index}`, 1]));
    const told = refusal(file(many));
    expect(told).toHaveLength(9);
    expect(told.at(-1)).toBe("and 492 more");
    expect(refusal(file({ ["long ".repeat(5000)]: 1 }))[0]!.length).toBeLessThan(120);
  });

  it("does no harm, whatever is in it", () => {
    const usual = Object.keys(USUAL).sort();
    fc.assert(fc.property(fc.jsonValue(), (value) => {
      for (const text of [JSON.stringify(value), file(value)]) {
        try {
          expect(Object.keys(parseSettings(text, COMMANDS).choices).sort()).toEqual(usual);
        } catch (error) {
          expect(error).toBeInstanceOf(SettingsRefused);
        }
        expect(Object.keys(readSettings(text)).sort()).toEqual(usual);
      }
    }));
  });
});

it("what a browser has kept damaged falls back to what is usual", () => {
  expect(readSettings(null)).toEqual(USUAL);
  expect(readSettings("{")).toEqual(USUAL);
  const kept = JSON.stringify({ theme: "dark", scale: 9, snap: 1, keys: { save: {} }, recent: [4], unknown: true });
  expect(readSettings(kept)).toEqual({ ...USUAL, theme: "dark" });
  expect(readSettings('{"keys": {"save": "Alt+S"}}').keys).toEqual({ save: "Alt+S" });
});
