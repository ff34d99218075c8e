// The lists that open over the canvas: nodes to add, ports to link, nodes to find, commands to run.
import type { NodeType } from "../api/generated";
import { t } from "../i18n/index.svelte";
import { answers as answersEn } from "../words/answers.en";
import { own, type Link } from "../model/document";
import type { Point, Target } from "../model/edit";
import { inputOf, isVariable, matching } from "../model/fit";
import { words } from "../model/names";
import { allIds, PREFIX, specAt, typeTitle, usedBy } from "../model/subgraph";
import { usual } from "../model/usual";
import type { App, Choice } from "./app.svelte";
import { alsoCalled } from "./say";
import { Linking, type End } from "./linking.svelte";

const GAP = 60;
const WIDTH = 232;

/** What is a node elsewhere and something else here, or nothing: who searches for it is told what. */
const ANSWERS = Object.keys(answersEn).flatMap((key) => /^answer\.(\w+)$/.exec(key)?.[1] ?? []);
const ANSWER = "answer:"; // no type begins so

/** Search for a node to add, at a place on the screen; with an end of a link, only for what fits it. */
export function openSearch(app: App, at: Point | null, end: End | null): void {
  const wire = end?.side === "output" ? app.wires.of({ node: end.node, output: end.name }) : undefined;
  const spec = end && own(app.tab.workflow.nodes, end.node);
  const needs = end?.side === "input" && spec ? inputOf(app.types[spec.type]!, end.name)?.types : undefined;
  const fitting = wire ? matching(app.types, { gives: wire }) : needs ? matching(app.types, { needs }) : null;
  const generic = (type: NodeType) => fitting !== null && type.inputs.some((input) => input.name === fitting.get(type.name) && input.types.some(isVariable));
  const types = Object.values(app.types)
    .filter((type) => (!fitting || fitting.has(type.name)) && !containsView(app, type.name))
    .toSorted((one, other) => Number(generic(one)) - Number(generic(other)));
  app.picking = {
    title: end ? t("search.fitting", { type: wire?.type ?? needs?.join(" / ") ?? "" }) : t("search.title"),
    placeholder: t("search.placeholder"),
    empty: t(end ? "search.empty" : "search.nothing"),
    at,
    wide: true,
    recent: end ? [] : app.settings.recent, // what fits a port is told by the port
    choices: [...types.map((type) => ({
      id: type.name, label: typeTitle(type.name), detail: type.doc.split("\n")[0]!,
      hint: fitting ? `${type.category} · ${words(fitting.get(type.name)!)}` : type.category,
      aliases: aliasesOf(app, type.name), bonus: usual(type.name, end?.side ?? null),
    })), ...ANSWERS.map((id) => ({
      id: `${ANSWER}${id}`, label: t(`answer.${id}.name`), detail: t(`answer.${id}`), hint: t("search.no_node"), asked: true,
      aliases: Object.fromEntries(t(`answer.${id}.also`).split(", ").map((name) => [name, t("search.no_node")])),
    }))],
    pick: (name) => {
      if (name.startsWith(ANSWER)) return app.toast(t(`answer.${name.slice(ANSWER.length)}`));
      const place = at ? (app.canvas?.toCanvas(at) ?? { x: 0, y: 0 }) : free(app);
      const left = end?.side === "input" ? place.x - WIDTH : place.x;
      app.add(name, { x: left, y: place.y }, end, fitting?.get(name) ?? null);
    },
  };
}

/** What else a node type may be called by one who searches for it, and how that is shown. */
function aliasesOf(app: App, type: string): { [name: string]: string } {
  const comfyui = (own(app.comfyui, type) ?? []).map((name) => [name, t("search.comfyui", { name })]);
  const others = alsoCalled(type).map((name) => [name, t("search.also", { name })]);
  return Object.fromEntries([...comfyui, ...others]);
}

/** Whether a type is the subgraph that is in view, or one that contains it. */
function containsView(app: App, type: string): boolean {
  const { inView, tab } = app;
  if (inView === null || !type.startsWith(PREFIX)) return false;
  const name = type.slice(PREFIX.length);
  return name === inView || Object.hasOwn(usedBy(tab.root.subgraphs[name]!.nodes, tab.root.subgraphs), inView);
}

/** A place for a node that is added without a pointer: right of the chosen one, else in the middle. */
function free(app: App): Point {
  const chosen = [...app.tab.chosen.nodes].at(-1);
  const place = chosen === undefined ? undefined : own(app.tab.workflow.layout, chosen);
  let at = place && app.canvas
    ? { x: place.x + app.canvas.sizeOf(chosen!).width + GAP, y: place.y }
    : (app.canvas?.middle() ?? { x: 0, y: 0 });
  const taken = (point: Point) => Object.values(app.tab.workflow.layout).some(
    (other) => Math.abs(other.x - point.x) < GAP && Math.abs(other.y - point.y) < GAP,
  );
  while (taken(at)) at = { x: at.x + GAP / 2, y: at.y + GAP };
  return at;
}

/**
 * Choose what the chosen node is linked to: free inputs for each of its outputs, outputs for each of its inputs. With
 * `only`, what that one port is linked to.
 */
export function openConnect(app: App, only: End | null = null): void {
  const { tab, types, wires, canvas } = app;
  const id = only?.node ?? [...tab.chosen.nodes].at(-1);
  const spec = id === undefined ? undefined : own(tab.workflow.nodes, id);
  const type = spec && own(types, spec.type);
  if (id === undefined || !spec || !type || !canvas) return;
  const isFree = (node: string, name: string) => {
    const other = tab.workflow.nodes[node]!;
    const input = own(types, other.type) && inputOf(types[other.type]!, name);
    return !Object.hasOwn(other.links, name) || Boolean(input?.many);
  };
  const choices: Choice[] = [];
  const ends = new Map<string, [Link, Target]>();
  const offer = (from: Link, to: Target, hint: string) => {
    const key = JSON.stringify([from, to]);
    ends.set(key, [from, to]);
    choices.push({ id: key, label: `${from.node}.${from.output} → ${to.node}.${to.input}`, hint });
  };
  const judge = new Linking();
  const asked = (side: End["side"], name: string) => !only || (only.side === side && only.name === name);
  // What the node cannot do without comes first.
  for (const input of type.inputs.toSorted((one, other) => Number(other.required) - Number(one.required))) {
    if (!asked("input", input.name) || (!only && !isFree(id, input.name))) continue;
    judge.begin({ side: "input", node: id, name: input.name }, wires);
    for (const end of judge.fitting()) {
      offer({ node: end.node, output: end.name }, { node: id, input: input.name }, input.types.join(" / "));
    }
  }
  for (const output of type.outputs.filter((one) => asked("output", one.name))) {
    judge.begin({ side: "output", node: id, name: output.name }, wires);
    for (const end of judge.fitting()) {
      if (isFree(end.node, end.name)) offer({ node: id, output: output.name }, { node: end.node, input: end.name }, output.type);
    }
  }
  const place = own(tab.workflow.layout, id) ?? { x: 0, y: 0 };
  app.picking = {
    title: t("connect.title", { node: id }), placeholder: t("connect.placeholder"), empty: t("connect.empty"), wide: true,
    at: canvas.toScreen({ x: place.x + canvas.sizeOf(id).width + 12, y: place.y }), choices,
    pick: (key) => {
      const [from, to] = ends.get(key)!;
      app.connect(from, to);
      canvas.focus(id);
    },
  };
}

/** Find a node of the workflow, also one in a subgraph, by its name, title or type. */
export function openFind(app: App): void {
  app.picking = {
    title: t("find.title"), placeholder: t("find.placeholder"), empty: t("find.empty"), at: null, wide: true,
    choices: allIds(app.tab.root).map((id) => {
      const { title, type } = specAt(app.tab.root, id)!;
      const name = words(id.replaceAll("/", " › "));
      return { id, label: title || name, detail: title ? name : "", hint: typeTitle(type) };
    }),
    pick: (id) => app.show(id),
  };
}
