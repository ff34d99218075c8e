// Numbers are shown, typed and read without a digit being lost.
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import fc from "fast-check";
import { afterEach, expect, test, vi } from "vitest";
import { Client } from "../src/api/client";
import { InexactNumber } from "../src/lib/exact";
import { format, isKept, parseNumber, settle } from "../src/widgets/numbers";

test("whole numbers are shown to the last digit, fractions without dust", () => {
  expect(format(156680208700286)).toBe("156680208700286");
  expect(format(2 ** 53 - 1)).toBe("9007199254740991");
  expect(format(0.1 + 0.2)).toBe("0.3");
  fc.assert(fc.property(fc.maxSafeInteger(), (value) => parseNumber(format(value)) === value));
  fc.assert(fc.property(fc.integer(), (value) => parseNumber(format(value * 1e12)) === value * 1e12));
});

test("a step lands on the next whole number, however long", () => {
  const widget = { kind: "number", low: null, high: null, step: 1, openLow: false } as const;
  for (const integer of [true, false]) expect(settle(156680208700287, { ...widget, integer })).toBe(156680208700287);
});

test("what a browser would round is told from what it keeps", () => {
  expect(["9007199254740991", "-9007199254740991", "0.1", "12"].map((text) => isKept(parseNumber(text)!))).toEqual([true, true, true, true]);
  expect(["9007199254740992", "9007199254740993", "2*9007199254740991"].map((text) => isKept(parseNumber(text)!))).toEqual([false, false, false]);
});

let server: Server | undefined;
afterEach(() => {
  vi.unstubAllGlobals();
  server?.close();
});

test("a seed of a stored workflow that a browser would round is refused, others come whole", async () => {
  let seed = "9007199254740993";
  server = createServer((_, response) => response.end(`{"workflow":{"nodes":{"a":{"type":"Seed","values":{"value":${seed}}}}}}`));
  await new Promise<void>((listening) => server!.listen(0, "127.0.0.1", listening));
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const { fetch } = globalThis;
  vi.stubGlobal("fetch", (path: string, init: RequestInit) => fetch(base + path, init));
  const client = new Client();
  for (const ask of [() => client.workflow("w"), () => client.template("t"), () => client.runWorkflow("r"), () => client.artifactWorkflow("a")]) {
    await expect(ask()).rejects.toThrow(InexactNumber);
  }
  seed = "156680208700286";
  expect(JSON.stringify(await client.workflow("w"))).toContain(seed);
});
