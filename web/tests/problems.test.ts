// What is counted and marked: what the editor finds and what the server says, each problem one time.
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Client } from "../src/api/client";
import { emptyWorkflow, type Workflow } from "../src/model/document";
import { spoken, type Problem } from "../src/model/problems";
import type { App } from "../src/state/app.svelte";
import { Problems } from "../src/state/problems.svelte";
import { plan, run } from "../src/state/running";
import { Tab } from "../src/state/tab.svelte";
import { input, TYPES } from "./catalog";

const LOAD = { ...TYPES["Show"]!, name: "Load", inputs: [input("file", ["str"], { value_schema: { type: "string", file: "checkpoints" } })] };
const types = { ...TYPES, Load: LOAD };

function appOf(nodes: { [id: string]: object }, told: Problem[] = [], subgraphs: object = {}) {
  const full = Object.entries(nodes).map(([id, spec]) => [id, { title: "", values: {}, links: {}, bypassed: false, muted: false, ...spec }]);
  const tab = new Tab({ ...emptyWorkflow(), nodes: Object.fromEntries(full) as Workflow["nodes"], subgraphs: subgraphs as Workflow["subgraphs"] });
  tab.refuse(told);
  const toasts: string[] = [];
  const app = {
    loaded: true, tab, types, files: { checkpoints: [{ name: "there" }] }, inView: null, shown: undefined, client: new Client(),
    toast: (text: () => string) => toasts.push(text()), untell: () => undefined, show: () => undefined,
  };
  return { ...app, toasts, problems: new Problems(app as never) } as unknown as App & { toasts: string[] };
}
const told = (app: App) => app.problems.all.map(({ node, input: name, key }) => [node, name, key]);

const BROKEN = { alien: { type: "Unheard" }, load: { type: "Load", values: { file: "gone" } } };
const ANSWER = [
  { message: "no node type is called 'Unheard'", node: "alien", input: null },
  { message: "there is no checkpoint 'gone'", node: "load", input: "file" },
];
const BOTH = [["alien", null, "problem.type"], ["load", "file", ""]];

let server: Server;
let asked: string[];
beforeEach(async () => {
  asked = [];
  server = createServer((request, response) => {
    asked.push(request.url!);
    response.end(JSON.stringify({ problems: ANSWER }));
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const { fetch } = globalThis;
  vi.stubGlobal("fetch", (path: string, init: RequestInit) => fetch(base + path, init));
});
afterEach(() => {
  vi.unstubAllGlobals();
  server.close();
});

test("a node of an unknown type hides no problem of another, and neither is told twice", async () => {
  const app = appOf(BROKEN);
  await plan(app);
  expect(asked).toEqual(["/api/check"]);
  expect(told(app)).toEqual(BOTH);
  // The list has the server's words, which name the folders; the node has room for less.
  expect(app.problems.of("load").map((one) => one.key)).toEqual(["file.missing"]);
});

test("a run that is asked for at once counts both, and is not queued", async () => {
  const app = appOf(BROKEN);
  await run(app);
  expect(asked).toEqual(["/api/check"]);
  expect(app.toasts).toEqual(["2 problems must be solved first"]);
});

test("without the server the editor still tells what it knows", async () => {
  server.close();
  server.closeAllConnections();
  const app = appOf(BROKEN);
  await run(app);
  expect(app.toasts).toEqual(["1 problem must be solved first"]);
});

test("a circle is told once, whichever of its nodes the server names", () => {
  const from = (node: string) => ({ type: "Join", links: { parts: [{ node, output: "value" }] } });
  const app = appOf({ a: from("b"), b: from("a"), load: BROKEN.load }, [spoken("these nodes wait for each other", "b"), spoken("gone", "load", "file")]);
  expect(told(app)).toEqual([["a", null, "problem.cycle"], ["load", "file", ""]]);
});

test("what the editor says of a port of a subgraph, the server says of the node inside", () => {
  const inner = { title: "", type: "Show", values: {}, links: {}, bypassed: false, muted: false };
  const paint = {
    description: "", nodes: { show: inner, other: inner }, layout: {}, groups: [], notes: [], bends: [],
    inputs: { picture: [{ node: "show", input: "image", at: null }] }, outputs: {},
  };
  const word = (node: string) => spoken("is not connected", `use/${node}`, "image");
  const app = appOf({ use: { type: "subgraph:Paint" } }, [word("show"), word("other")], { Paint: paint });
  (app as { types: object }).types = { ...types, "subgraph:Paint": { ...LOAD, name: "subgraph:Paint", inputs: [input("picture", ["Image"])] } };
  const all = new Problems(app as never).all;
  expect(all.map(({ node, input: name, key }) => [node, name, key])).toEqual([["use", "picture", "problem.link"], ["use/other", "image", ""]]);
});
