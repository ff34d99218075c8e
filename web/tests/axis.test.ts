import { expect, test } from "vitest";
import { axisCount, axisText, choicesOf } from "../src/model/axis";
import type { Widget } from "../src/model/value";

const number: Widget = { kind: "number", integer: false, low: null, high: null, step: 1, openLow: false };

test("a text is a line, with all its commas", () => {
  const text = "a castle, at night\n\n a fox ";
  expect(JSON.parse(axisText({ kind: "text" }, text))).toEqual(["a castle, at night", "a fox"]);
  expect(axisCount({ kind: "text" }, text)).toBe(2);
});

test.each([["1,3,5", 3], ["1..5", 5], ["0..1:0.25", 5], ["0..1:0.1", 11], ["[1, 2]", 2], ["[1, ", 0], ["5..1", 0], ["1..5:0", 0], [" ", 0]])(
  "%s is so many numbers: %s", (text, count) => {
    expect(axisCount(number, text)).toBe(count);
    expect(axisText(number, text)).toBe(text);
  },
);

test("what has choices offers them", () => {
  expect(choicesOf({ kind: "choice", choices: ["euler", "heun"] })).toEqual(["euler", "heun"]);
  expect(choicesOf({ kind: "switch" })).toEqual([true, false]);
  expect(choicesOf(number)).toBeNull();
});
