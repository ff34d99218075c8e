import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";

const css = readFileSync(new URL("../src/theme/theme.css", import.meta.url), "utf8");
const colors = new Map(
  [...css.matchAll(/--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)/g)].map(([, name, light, dark]) => [
    name!, { light: light!, dark: dark! },
  ]),
);

/** Relative luminance, WCAG 2.2. */
function luminance(hex: string): number {
  const [r, g, b] = [1, 3, 5].map((at) => {
    const part = parseInt(hex.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!;
}

function contrast(one: string, other: string): number {
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high! + 0.05) / (low! + 0.05);
}

describe.each(["light", "dark"] as const)("%s", (mode) => {
  const of = (name: string) => colors.get(name)![mode];
  test.each(["text", "dim", "accent", "good", "warn", "bad"])("%s can be read on every ground", (name) => {
    for (const ground of ["canvas", "panel", "raised", "hover"]) {
      expect(contrast(of(name), of(ground)), `${name} on ${ground}`).toBeGreaterThanOrEqual(4.5);
    }
  });
  test("text on coloured grounds can be read", () => {
    for (const [name, ground] of [["on-accent", "accent"], ["on-accent", "accent-hover"], ["text", "accent-soft"], ["text", "pressed"], ["bad", "bad-soft"]] as const) {
      expect(contrast(of(name), of(ground)), `${name} on ${ground}`).toBeGreaterThanOrEqual(4.5);
    }
  });
  test("edges of controls stand out", () => {
    for (const ground of ["panel", "raised", "canvas"]) expect(contrast(of("edge"), of(ground))).toBeGreaterThanOrEqual(3);
  });
});
