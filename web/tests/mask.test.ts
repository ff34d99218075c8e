import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ARROWS, stepped } from "../src/panels/cursor";
import { tintFor, TINTS } from "../src/panels/tint";
import { coverage, Mask, type Dab } from "../src/panels/mask";

const dab = (x: number, y: number, radius = 4): Dab => ({ x, y, radius });
const hard = { softness: 0, erases: false };
const at = (mask: Mask, x: number, y: number) => mask.data[y * mask.width + x]!;
const stroke = (mask: Mask, from: Dab, to: Dab = from, brush = hard) => {
  mask.begin();
  const area = mask.paint(from, to, brush);
  mask.end();
  return area;
};

describe("a brush", () => {
  test("covers a disc of its radius, its edge smooth over a pixel", () => {
    const mask = new Mask(40, 40);
    stroke(mask, dab(20, 20, 8));
    const covered = mask.data.reduce((sum, value) => sum + value / 255, 0);
    expect(Math.abs(covered - Math.PI * 64)).toBeLessThan(4);
    expect(at(mask, 20, 20)).toBe(255);
    expect(at(mask, 20, 10)).toBe(0);
    expect([...mask.data].some((value) => value > 0 && value < 255)).toBe(true);
  });
  test("fades from the share of the radius that softness says", () => {
    expect(coverage(4.9, 10, 0.5)).toBe(1);
    expect(coverage(10.5, 10, 0.5)).toBe(0);
    const [inner, outer] = [coverage(6, 10, 0.5), coverage(9, 10, 0.5)];
    expect(inner).toBeGreaterThan(outer);
    expect(outer).toBeGreaterThan(0);
    expect(coverage(0, 0.2, 0)).toBeGreaterThan(0);
  });
  test("that goes over a place twice leaves its soft edge as it was", () => {
    const [once, often] = [new Mask(40, 40), new Mask(40, 40)];
    const soft = { softness: 1, erases: false };
    stroke(once, dab(20, 20, 15), dab(20, 20, 15), soft);
    for (let time = 0; time < 9; time += 1) stroke(often, dab(20, 20, 15), dab(20, 20, 15), soft);
    expect(often.data).toEqual(once.data);
  });
  test("draws a line without gaps, narrowing as the pen is pressed less", () => {
    const mask = new Mask(100, 40);
    stroke(mask, dab(5, 20, 10), dab(95, 20, 2));
    const thickness = (x: number) => Array.from({ length: 40 }, (_, y) => at(mask, x, y)).filter((value) => value > 127).length;
    for (let x = 5; x < 95; x += 1) expect(at(mask, x, 20)).toBe(255);
    expect(thickness(10)).toBeGreaterThan(15);
    expect(thickness(90)).toBeLessThan(6);
  });
  test("that erases takes away what is covered", () => {
    const mask = new Mask(20, 20);
    mask.fill(255);
    stroke(mask, dab(10, 10), dab(10, 10), { softness: 0, erases: true });
    expect(at(mask, 10, 10)).toBe(0);
    expect(at(mask, 1, 1)).toBe(255);
  });
  test("tells what it changed, and stays inside", () => {
    const mask = new Mask(20, 20);
    expect(stroke(mask, dab(0, 0, 3))).toEqual({ x: 0, y: 0, width: 4, height: 4 });
    expect(stroke(mask, dab(90, 90, 3)).width).toBe(0);
  });
});

test("a closed line is filled to its inside, without a seam", () => {
  const mask = new Mask(60, 60);
  const soft = { softness: 0.8, erases: false };
  const corners = [dab(10, 10), dab(50, 10), dab(50, 50), dab(10, 50), dab(10, 10)];
  mask.begin();
  corners.slice(1).forEach((to, index) => mask.paint(corners[index]!, to, soft));
  mask.end();
  mask.flood(30, 30, 255);
  expect(at(mask, 30, 30)).toBe(255);
  for (let y = 10; y <= 50; y += 1) expect(at(mask, 30, y)).toBeGreaterThan(127);
  expect(at(mask, 2, 2)).toBe(0);
  mask.flood(30, 30, 0);
  expect(at(mask, 30, 30)).toBe(0);
  mask.flood(-5, 3, 255);
  expect(at(mask, 0, 3)).toBe(0);
});

test("what is saved is read back, white for what is repainted", () => {
  const mask = new Mask(16, 16);
  stroke(mask, dab(8, 8, 5), dab(8, 8, 5), { softness: 0.7, erases: false });
  const grey = mask.grey();
  expect([...grey.slice(4 * (8 * 16 + 8), 4 * (8 * 16 + 8) + 4)]).toEqual([255, 255, 255, 255]);
  expect(Mask.read(16, 16, grey).data).toEqual(mask.data);
  expect(mask.tinted({ x: 8, y: 8, width: 1, height: 1 }, [255, 0, 1], 0.5)).toEqual(new Uint8ClampedArray([255, 0, 1, 128]));
});

type Act = (mask: Mask) => void;
const anAct: fc.Arbitrary<Act> = fc
  .tuple(fc.nat(6), fc.nat(23), fc.nat(23), fc.nat(23), fc.integer({ min: 1, max: 9 }))
  .map(([kind, x, y, other, radius]) => (mask) => {
    if (kind === 0) mask.fill(255);
    else if (kind === 1) mask.fill(0);
    else if (kind === 2) mask.invert();
    else if (kind === 3) mask.flood(x, y, 255);
    else stroke(mask, dab(x, y, radius), dab(other, y, radius), { softness: kind / 7, erases: kind === 6 });
  });

test("undo leads back through any strokes, and redo forth again", () => {
  fc.assert(
    fc.property(fc.array(anAct, { maxLength: 12 }), (acts) => {
      const mask = new Mask(24, 24);
      const states = [mask.data.slice()];
      for (const act of acts) {
        const before = mask.data.slice();
        act(mask);
        // What changes nothing is no step.
        if (before.some((value, index) => value !== mask.data[index])) states.push(mask.data.slice());
      }
      for (const state of states.slice(0, -1).toReversed()) {
        expect(mask.undo()).not.toBeNull();
        expect(mask.data).toEqual(state);
      }
      expect(mask.undo()).toBeNull();
      for (const state of states.slice(1)) {
        expect(mask.redo()).not.toBeNull();
        expect(mask.data).toEqual(state);
      }
      expect(mask.redo()).toBeNull();
    }),
    { numRuns: 60 },
  );
});

test("a mask is drawn in a colour that is not in the picture", () => {
  const filled = (color: readonly number[]) => new Uint8ClampedArray(Array.from({ length: 4000 }, (_, at) => (at % 4 === 3 ? 255 : color[at % 4]!)));
  for (const tint of TINTS) expect(tintFor(filled(tint))).not.toBe(tint);
  expect(tintFor(filled([210, 30, 40]))).not.toBe(TINTS[0]);
});

describe("a place moved by keys", () => {
  const size = { width: 20, height: 10 };

  test("is the middle of a pixel, and never leaves the picture", () => {
    fc.assert(
      fc.property(fc.double({ min: -5, max: 25, noNaN: true }), fc.double({ min: -5, max: 25, noNaN: true }), fc.constantFrom(...ARROWS), fc.double({ min: 1, max: 50, noNaN: true }), (x, y, key, by) => {
        const next = stepped({ x, y }, key, by, size);
        expect([next.x % 1, next.y % 1]).toEqual([0.5, 0.5]);
        expect(next.x > 0 && next.x < 20 && next.y > 0 && next.y < 10).toBe(true);
      }),
    );
  });

  test("goes as far as it is told, the way that the arrow points", () => {
    expect(stepped({ x: 4.5, y: 4.5 }, "ArrowRight", 3, size)).toEqual({ x: 7.5, y: 4.5 });
    expect(stepped({ x: 4.5, y: 4.5 }, "ArrowUp", 2, size)).toEqual({ x: 4.5, y: 2.5 });
    expect(stepped({ x: 4.5, y: 4.5 }, "ArrowDown", 99, size)).toEqual({ x: 4.5, y: 9.5 });
  });
});

test("the share of a mask counts what is rather repainted than kept", () => {
  expect(new Mask(2, 2, new Uint8Array([255, 128, 127, 0])).share).toBe(0.5);
});
