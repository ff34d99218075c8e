import { describe, expect, test } from "vitest";
import { canName } from "../src/model/stored";

describe("canName", () => {
  test.each(["My first (1)", "हिन्दी", "क्\u200dष", "မျှော်လင့်ချက်", "東京2", "Ⅷ", "_x", "été"])("takes %s", (name) => {
    expect(canName(name)).toBe(true);
  });

  test.each(["", ".x", "a/b", "x\ufe0f", "x\u034f", "x\u{e0100}", "x\u17b4", "x\u180b", "\u3164", "x\u115f", "x\uffa0", "x²", "x\u202e",
    `e${"\u0301".repeat(99)}`, `क${"\u0301".repeat(8)}\u200d\u0301`, "a".repeat(101)])("refuses %j", (name) => {
    expect(canName(name)).toBe(false);
  });
});
