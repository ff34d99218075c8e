import { describe, expect, it } from "vitest";
import { shiftInto } from "../src/canvas/reveal";

const view = { x: 100, y: 50, width: 800, height: 600 };
const box = (x: number, y: number, width = 200, height = 100) => ({ x, y, width, height });

describe("what was added is brought into view", () => {
  it("leaves a view alone that shows it wholly", () => {
    expect(shiftInto([box(300, 200)], view)).toEqual({ x: 0, y: 0 });
    expect(shiftInto([], view)).toEqual({ x: 0, y: 0 });
  });

  it("moves by no more than is needed, with a margin", () => {
    expect(shiftInto([box(90, 640)], view)).toEqual({ x: 26, y: -106 });
    expect(shiftInto([box(800, 0)], view)).toEqual({ x: -116, y: 66 });
  });

  it("takes several together, and shows the upper left corner of what is too large", () => {
    expect(shiftInto([box(850, 100), box(700, 300)], view)).toEqual({ x: -166, y: 0 });
    expect(shiftInto([box(200, 300, 900, 700)], view)).toEqual({ x: -84, y: -234 });
  });
});
