import { describe, expect, it } from "vitest";
import { opening, shiftInto, type Box } from "../src/canvas/reveal";

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

describe("the first view of a graph", () => {
  const size = { width: 800, height: 600 };
  // What of the graph is in view: its left, right, upper and lower end.
  const seen = (boxes: readonly Box[]) => {
    const { x, y, zoom } = opening(boxes, size);
    return { zoom, left: -x / zoom, right: (size.width - x) / zoom, top: -y / zoom, bottom: (size.height - y) / zoom };
  };

  it("is of all of it, in the middle, where that can be read", () => {
    const { zoom, left, right, top, bottom } = seen([box(0, 0), box(800, 300)]);
    expect(zoom).toBeCloseTo(800 / 1000 / 1.1);
    expect([left + right, top + bottom]).toEqual([expect.closeTo(1000), expect.closeTo(400)]);
    expect(seen([box(7, 7)]).zoom).toBe(1.1);
  });

  it("can be read in a wide graph, and begins where that does", () => {
    const { zoom, left, top, bottom } = seen([box(2700, 0), box(40, 300), box(300, 100)]);
    expect(zoom).toBe(0.6);
    expect(left).toBeCloseTo(40 - 16 / 0.6);
    expect(top + bottom).toBeCloseTo(400); // as high as it is, in the middle
  });

  it("is about as high as what begins a tall graph, and goes not beyond its ends", () => {
    const at = (y: number) => seen([box(300, 0), box(40, y), box(300, 3900)]);
    expect(at(2000).top + at(2000).bottom).toBeCloseTo(2 * 2050);
    expect(at(100).top).toBeCloseTo(-16 / 0.6);
    expect(at(3900).bottom).toBeCloseTo(4000 + 16 / 0.6);
  });
});
