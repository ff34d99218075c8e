import { describe, expect, test } from "vitest";
import type { Run } from "../src/api/generated";
import { arrivals, remaining, usual } from "../src/panels/eta";
import { numbersIn, path, scales, short, ticks } from "../src/panels/plot";
import { factsOf, linesOf, seedOf } from "../src/panels/receipt";
import { fitted, pinched, wheelFactor, zoomed } from "../src/panels/zoom";

const run = (title: string, seconds: number | null, status: Run["status"] = "succeeded"): Run => ({
  id: `${title}${seconds}`, status, title, priority: 0, position: null, created: 0, started: 0, finished: 0, seconds,
  attempts: 1, cancelling: false, total: 3, node: null, share: null, left: null, error: null, artifacts: [],
});

describe("how long it takes", () => {
  const runs = [run("cat", 10), run("cat", 30), run("cat", 20), run("dog", 100), run("cat", null, "failed")];
  test("is what runs of that title took lately", () => {
    expect(usual(runs, "cat")).toBe(20);
    expect(usual(runs, "dog")).toBe(100);
    expect(usual(runs, "bird")).toBe(25);
    expect(usual([], "cat")).toBeNull();
  });
  test("for a running run goes from what is usual to what is measured", () => {
    expect(remaining({ share: null, started: 0 }, 5, null)).toBeNull();
    expect(remaining({ share: 0.5, started: 0 }, 10, null)).toBe(10);
    expect(remaining({ share: null, started: 0 }, 5, 20)).toBe(15);
    expect(remaining({ share: 0.9, started: 0 }, 9, 100)).toBeCloseTo(0.9 * 1 + 0.1 * 91);
    expect(remaining({ share: null, started: 0 }, 50, 20)).toBe(0);
  });
  test("for queued runs adds up what is before them, over all workers", () => {
    const queued = [run("cat", null, "queued"), run("dog", null, "queued"), run("cat", null, "queued")];
    expect(arrivals(queued, runs, [5])).toEqual([25, 125, 145]);
    expect(arrivals(queued, runs, [5, 0], 2)).toEqual([20, 105, 40]);
    expect(arrivals(queued, runs, [null])).toEqual([null, null, null]);
    expect(arrivals(queued, [], [])).toEqual([null, null, null]);
  });
});

describe("what made a picture", () => {
  const workflow = {
    nodes: {
      model: { type: "LoadModel", values: { checkpoint: "emoji" } },
      first: { type: "Sampler", values: { seed: 3 } },
      prompt: { type: "Encode", values: { text: "a red heart", style: "3d" } },
      empty: { type: "Encode", values: { text: "" } },
      last: { type: "Sampler", values: { seed: 7, guidance_scale: 4 } },
    },
  };
  test("tells words and seeds first", () => {
    expect(factsOf(workflow).map(({ node, input, value }) => `${node}.${input}=${value}`)).toEqual([
      "prompt.text=a red heart", "first.seed=3", "last.seed=7", "model.checkpoint=emoji", "last.guidance_scale=4",
    ]);
    expect(seedOf(workflow)).toBe(7);
    expect(seedOf({})).toBeNull();
    expect(factsOf({})).toEqual([]);
  });
  test("and its receipt in words", () => {
    const receipt = {
      node: "save", keys: { a: "1", b: "2" }, files: { "checkpoints/emoji": "91b9c3f0c7fb6bdf0068", "loras/ink/old": "77", "clouds/x_y": "5" },
      device: "cuda:0", dtype: "float16", compiled: true, versions: { python: "3.11.7", nodegraph: "0.1.0" }, seed: null, workflow: {},
    };
    expect(linesOf(receipt)).toEqual([
      { label: "Model", text: "emoji", exact: "91b9c3f0c7fb" },
      { label: "LoRA", text: "ink/old", exact: "77" },
      { label: "clouds", text: "x_y", exact: "5" },
      { label: "Computed on", text: "the graphics card, in half precision, compiled", exact: "cuda:0, float16" },
      { label: "Program", text: "nodegraph 0.1.0", exact: "python 3.11.7, nodegraph 0.1.0" },
    ]);
    expect(linesOf(null)).toEqual([]);
    // A picture of somebody else's holds what they like.
    expect(linesOf({ files: ["a"], device: 3, dtype: {}, versions: { nodegraph: [] } })).toEqual([]);
  });
});

describe("looking at a picture", () => {
  const screen = { width: 1000, height: 800 };
  test("fits it in the middle, small ones enlarged by whole numbers", () => {
    expect(fitted({ width: 2000, height: 1000 }, screen, 0)).toEqual({ scale: 0.5, x: 0, y: 150 });
    expect(fitted({ width: 64, height: 64 }, screen)).toEqual({ scale: 12, x: 116, y: 16 });
  });
  test("keeps the point under the pointer where it is", () => {
    const view = zoomed({ scale: 1, x: 10, y: 20 }, 3, 110, 220);
    expect(view.scale).toBe(3);
    expect((110 - view.x) / view.scale).toBeCloseTo(100);
    expect((220 - view.y) / view.scale).toBeCloseTo(200);
    expect(zoomed(view, 1e9, 0, 0).scale).toBe(64);
  });
  test("two fingers move and enlarge it", () => {
    const start = { scale: 1, x: 0, y: 0 };
    expect(pinched(start, [{ x: 0, y: 0 }, { x: 10, y: 0 }], [{ x: 5, y: 5 }, { x: 15, y: 5 }])).toEqual({ scale: 1, x: 5, y: 5 });
    expect(pinched(start, [{ x: 40, y: 0 }, { x: 60, y: 0 }], [{ x: 30, y: 0 }, { x: 70, y: 0 }])).toEqual({ scale: 2, x: -50, y: 0 });
  });
  test("a turn of the wheel has a bounded effect, whatever its units", () => {
    expect(wheelFactor({ deltaY: -100, deltaMode: 0, ctrlKey: false })).toBeGreaterThan(1);
    expect(wheelFactor({ deltaY: 3, deltaMode: 1, ctrlKey: false })).toBeLessThan(1);
    expect(wheelFactor({ deltaY: 1e9, deltaMode: 0, ctrlKey: false })).toBeGreaterThan(0.5);
  });
});

describe("plots", () => {
  const frame = { width: 100, height: 100, left: 0, right: 0, top: 0, bottom: 0 };
  test("have round ticks", () => {
    expect(ticks(0, 10)).toEqual([0, 5, 10]);
    expect(ticks(0.11, 0.52)).toEqual([0.2, 0.4]);
    expect(ticks(3, 3)).toEqual([3]);
    expect(short(0.30000000000000004)).toBe("0.3");
    expect(short(0.00012)).toBe("1.2e-4");
  });
  test("put the least value at the bottom and the greatest at the top", () => {
    expect(path([1, 3, 2], scales([1, 3, 2], frame))).toBe("M0.0 100.0L50.0 0.0L100.0 50.0");
    expect(path([1, Number.NaN, 2], scales([1, Number.NaN, 2], frame))).toBe("M0.0 100.0M100.0 0.0");
    expect(scales([5, 5], frame).y(5)).toBe(50);
    expect(scales([], frame).high).toBe(1);
  });
  test("are logarithmic over many decades", () => {
    const scale = scales([0.01, 0.1, 10], frame);
    expect(scale.logarithmic).toBe(true);
    expect(scale.y(0.1)).toBeCloseTo(100 - 100 / 3);
  });
  test("take their numbers from what a node notes", () => {
    expect(numbersIn("loss 0.0123 lr: 1e-4")).toEqual({ loss: 0.0123, lr: 1e-4 });
    expect(numbersIn("step 3 of 20, loss = 2")).toEqual({ step: 3, of: 20, loss: 2 });
    expect(numbersIn("decoding v2.safetensors")).toEqual({});
  });
});
