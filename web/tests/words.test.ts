import { describe, expect, test } from "vitest";
import { LOCALES, t, WORDS } from "../src/i18n/index.svelte";

const slots = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map(([, slot]) => slot).sort();

describe.each(Object.keys(LOCALES) as (keyof typeof LOCALES)[])("%s", (locale) => {
  test("has every key, with the same slots, and nothing empty", () => {
    expect(Object.keys(WORDS[locale]).sort()).toEqual(Object.keys(WORDS.en).sort());
    for (const [key, text] of Object.entries(WORDS[locale])) {
      expect(text.trim(), key).not.toBe("");
      expect(slots(text), key).toEqual(slots(WORDS.en[key]!));
    }
  });
});

test("slots are filled, unknown keys show themselves", () => {
  WORDS.en["test.slots"] = "{a} of {b}, {missing}";
  expect(t("test.slots", { a: 1, b: "<b>" })).toBe("1 of <b>, {missing}");
  expect(t("no.such.key")).toBe("no.such.key");
  delete WORDS.en["test.slots"];
});
