import { describe, expect, test } from "vitest";
import { LOCALES, t, WORDS } from "../src/i18n/index.svelte";

const slots = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map(([, slot]) => slot).sort();

describe.each(Object.keys(LOCALES) as (keyof typeof LOCALES)[])("%s", (locale) => {
  test("has every key, with the same slots, and nothing empty", () => {
    const plain = (words: object) => Object.keys(words).filter((key) => !key.endsWith(".one")).sort();
    expect(plain(WORDS[locale])).toEqual(plain(WORDS.en));
    for (const [key, text] of Object.entries(WORDS[locale])) {
      expect(text.trim(), key).not.toBe("");
      if (!key.endsWith(".one")) expect(slots(text), key).toEqual(slots(WORDS.en[key]!));
    }
  });
});

test("one problem is spoken of as one, in a language that tells one from many", () => {
  expect([0, 1, 2, 11].map((count) => t("problems.count", { count }))).toEqual(["0 problems", "1 problem", "2 problems", "11 problems"]);
  expect([1, 2].map((count) => t("run.problems", { count }))).toEqual(["1 problem must be solved first", "2 problems must be solved first"]);
  expect([1, 2].map((count) => t("grid.count", { count }))).toEqual(["1 picture will be made, and one sheet of it.", "2 pictures will be made, and one sheet of them."]);
  // Of what is counted, one is spoken of apart; fewer than three values are no plot.
  const counted = Object.keys(WORDS.en).filter((key) => /\{count\} \p{L}+s\b|\ball \{count\}/u.test(WORDS.en[key]!) && key !== "plot.label");
  expect(counted.length).toBeGreaterThan(3);
  expect(counted.filter((key) => !Object.hasOwn(WORDS.en, `${key}.one`))).toEqual([]);
  expect(Object.keys(WORDS.zh).filter((key) => key.endsWith(".one"))).toEqual([]);
  for (const key of Object.keys(WORDS.en).filter((key) => key.endsWith(".one"))) {
    const many = WORDS.en[key.slice(0, -".one".length)];
    expect(slots(many ?? ""), key).toContain("count");
    expect(slots(many!), key).toEqual(expect.arrayContaining(slots(WORDS.en[key]!)));
  }
});

test("slots are filled, unknown keys show themselves", () => {
  WORDS.en["test.slots"] = "{a} of {b}, {missing}";
  expect(t("test.slots", { a: 1, b: "<b>" })).toBe("1 of <b>, {missing}");
  expect(t("no.such.key")).toBe("no.such.key");
  delete WORDS.en["test.slots"];
});
