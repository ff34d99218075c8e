import { expect, test } from "vitest";
import { EventReader, pause, readPreview, type Handlers } from "../src/api/events";

function told(): { lines: string[]; handlers: Handlers } {
  const lines: string[] = [];
  return {
    lines,
    handlers: {
      open: (version) => lines.push(`open ${version}`),
      closed: () => lines.push("closed"),
      reset: () => lines.push("reset"),
      event: ({ event, number }) => lines.push(`${event} ${number}`),
      preview: (run, node, picture) => lines.push(`preview ${run} ${node} ${picture.size}`),
    },
  };
}
const frame = (...events: object[]) => JSON.stringify(events);

test("events are told in order and once, over several connections", () => {
  const { lines, handlers } = told();
  const reader = new EventReader(handlers);
  expect(reader.take(frame({ event: "hello", number: 7, version: "1" }))).toBe(true);
  expect(reader.last).toBe(7);
  expect(reader.take(frame({ event: "queued", number: 8 }, { event: "started", number: 9 }))).toBe(false);
  reader.take(frame({ event: "hello", number: 12, version: "2" }));
  expect(reader.last).toBe(9); // what came meanwhile is still to be told
  reader.take(frame({ event: "started", number: 9 }, { event: "finished", number: 12 }));
  reader.take(frame({ event: "hello", number: 40, version: "2" }, { event: "reset", number: 40 }));
  reader.take(frame({ event: "queue", number: 41 }));
  expect(lines).toEqual(["open 1", "queued 8", "started 9", "open 2", "finished 12", "open 2", "reset", "queue 41"]);
});

test("a reset to smaller numbers is followed", () => {
  const { lines, handlers } = told();
  const reader = new EventReader(handlers);
  reader.take(frame({ event: "hello", number: 900 }));
  reader.take(frame({ event: "hello", number: 3 }, { event: "reset", number: 3 }, { event: "queued", number: 4 }));
  expect(lines.at(-1)).toBe("queued 4");
  expect(reader.last).toBe(4);
});

test("previews carry the run, the node and the picture", () => {
  const [run, node] = ["abcdefgh1", "节点"].map((text) => new TextEncoder().encode(text));
  const bytes = new Uint8Array([1, run!.length, 0, node!.length, ...run!, ...node!, 0xff, 0xd8, 0xff]);
  const { lines, handlers } = told();
  new EventReader(handlers).take(bytes.buffer);
  expect(lines).toEqual(["preview abcdefgh1 节点 3"]);
  expect(readPreview(bytes)?.picture.type).toBe("image/jpeg");
  expect(readPreview(bytes.slice(0, 12))).toBeNull();
  expect(readPreview(new Uint8Array([2, 0, 0, 0, 1]))).toBeNull();
  expect(readPreview(new Uint8Array())).toBeNull();
});

test("each try waits longer, up to a limit, and not all wait alike", () => {
  const waits = [0, 1, 2, 3, 9].map((attempt) => pause(attempt, 0.5));
  expect(waits).toEqual([400, 800, 1600, 3200, 10_000]);
  expect(pause(3, 0)).toBeLessThan(pause(3, 1));
});
