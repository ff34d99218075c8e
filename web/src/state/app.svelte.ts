// The editor as one object: open tabs, the node types, what is chosen, and what is open above the canvas.
import { createContext } from "svelte";
import type { Client } from "../api/client";
import type { Artifact, FileEntry, NodeType } from "../api/generated";
import { t } from "../i18n/index.svelte";
import type { Size } from "../model/arrange";
import { silentIn, withoutBypassed } from "../model/bypass";
import { asList, own, type Link, type NodeSpec } from "../model/document";
import { addNode, link, relink, type Point, type Target } from "../model/edit";
import { inputOf, Wires, type Types } from "../model/fit";
import { freshId, snakeCase } from "../model/names";
import { placeholder } from "../model/placeholder";
import { definitionAt, innerIds, subgraphOf, subgraphTypes, typeTitle } from "../model/subgraph";
import { Panels } from "../panels/panels.svelte";
import type { Carried } from "./carried";
import { Linking, type End } from "./linking.svelte";
import { Problems } from "./problems.svelte";
import { Runs, type NodeRun } from "./runs.svelte";
import { Screen } from "./screen.svelte";
import { Settings } from "./settings.svelte";
import { Tab } from "./tab.svelte";

export type Look = Point & { zoom: number };

/** What commands ask of the canvas that is in view. */
export interface Canvas {
  fit(ids?: Iterable<string>): void;
  zoom(factor: number): void;
  toCanvas(point: Point): Point;
  toScreen(point: Point): Point;
  middle(): Point;
  /** The middle of the view and its zoom, and a way back to them. */
  view(): Look;
  look(at: Look): void;
  sizeOf(id: string): Size;
  /** Whether any of a node is in view. */
  shows(id: string): boolean;
  /** Bring the focus to a node that may be drawn only in one of the next frames. */
  focus(id: string): void;
  /** Lead a link through a point: the one of its path that is nearest to a place on the screen, or its middle. */
  bend(edge: string, at: Point | null): void;
  /** Move the view by as little as brings these nodes into it, as soon as they are measured; or fit it to the `whole` of them. */
  reveal(ids: Iterable<string>, whole?: boolean): void;
}

/** A list to choose from, opened over the canvas. */
export interface Choice {
  id: string;
  label: string;
  /** Words that are searched too, and shown small. */
  detail?: string;
  hint?: string;
  hue?: number;
  /** Other names that are searched, and how one is shown where the choice was found by it. */
  aliases?: { [name: string]: string };
  /** How much it is favoured. */
  bonus?: number;
  /** Only there for who searches for it. */
  asked?: boolean;
}
export interface Picking {
  title: string;
  placeholder: string;
  choices: Choice[];
  at: { x: number; y: number; width?: number; height?: number } | null;
  current?: string;
  wide?: boolean;
  empty?: string;
  /** Ids that come first while nothing is searched for. */
  recent?: readonly string[];
  pick(id: string): void;
}

export type Dialog = "grid" | "open" | "save" | "keys" | "about" | "settings";
export type Panel = "queue" | "gallery" | "problems" | "trash";
export type Menu = { at: Point } & ({ kind: "pane" | "node" | "edge"; id: string | null } | { kind: "port"; end: End });
export interface Toast {
  id: number;
  kind: "info" | "error";
  /** A function where it changes while it is told. */
  text: string | (() => string);
  action?: { label: string; run: () => void };
  /** What it is about: of each, only the newest is there. */
  about: string;
  /** The tab that it is of, and goes with; null where it is of the whole editor. */
  tab: Tab | null;
}
interface Told {
  about?: string;
  /** It is of the whole editor, and stays until it is dismissed. */
  stays?: boolean;
}

export class App {
  /** The node types that the server has. */
  catalog = $state.raw<Types>({});
  /** By type, what ComfyUI calls the nodes that do what it does. */
  comfyui = $state.raw<{ [type: string]: string[] }>({});
  /** What is wrong with the editor that the server has; empty where nothing is. */
  outdated = $state("");
  plugins = $state.raw<readonly { origin: string; message: string }[]>([]);
  files = $state.raw<{ [kind: string]: FileEntry[] }>({});
  tabs = $state.raw<readonly Tab[]>([new Tab()]);
  active = $state(0);
  tab = $derived(this.tabs[this.active]!);
  private subgraphs = $derived(this.tab.root.subgraphs);
  /** The name of the subgraph that is in view; null where the whole document is. */
  inView = $derived(definitionAt(this.tab.root, this.tab.path));
  /** The node types that this workflow can use: those of the server, and its own subgraphs. */
  types = $derived.by(() => (
    Object.keys(this.subgraphs).length ? { ...this.catalog, ...subgraphTypes(this.subgraphs, this.catalog) } : this.catalog
  ));
  wires = $derived(new Wires(this.tab.workflow, this.types));
  /** The muted nodes of the tab in front, and what depends on them. */
  silent = $derived(silentIn(withoutBypassed(this.tab.workflow, this.types)));
  picking = $state.raw<Picking | null>(null);
  menu = $state.raw<Menu | null>(null);
  dialog = $state<Dialog | null>(null);
  panel = $state<Panel | null>(null);
  large = $state.raw<Artifact | null>(null);
  /** The group or note whose text is to be written next, as the canvas calls it. */
  writing = $state<string | null>(null);
  /** A save that was refused because another version was stored meanwhile. */
  conflict = $state.raw<{ tab: Tab; name: string } | null>(null);
  /** A picture with a workflow in it that waits for what to do with it. */
  dropped = $state.raw<Carried | null>(null);
  toasts = $state.raw<readonly Toast[]>([]);
  status = $state("");
  connected = $state(true);
  loaded = $state(false);
  canvas: Canvas | null = null;

  readonly settings = new Settings();
  readonly screen = new Screen();
  readonly linking = new Linking();
  readonly problems = new Problems(this);
  readonly runs: Runs;
  readonly panels: Panels;
  shown = $derived.by(() => this.runs.get(this.tab.run));

  private systemDark = $state(matchMedia("(prefers-color-scheme: dark)").matches);
  dark = $derived(this.settings.theme === "system" ? this.systemDark : this.settings.theme === "dark");
  private systemCalm = $state(matchMedia("(prefers-reduced-motion: reduce)").matches);
  /** Whether nothing is to move that need not. */
  calm = $derived(this.settings.motion === "system" ? this.systemCalm : this.settings.motion === "reduced");
  private toastNumber = 0;

  constructor(readonly client: Client) {
    this.runs = new Runs(client);
    this.panels = new Panels(client);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (event) => (this.systemDark = event.matches));
    matchMedia("(prefers-reduced-motion: reduce)").addEventListener("change", (event) => (this.systemCalm = event.matches));
  }

  private used = $derived.by(() => {
    const used = new Map<string, Set<string>>();
    for (const spec of Object.values(this.tab.workflow.nodes)) {
      for (const links of Object.values(spec.links)) {
        for (const { node, output } of asList(links)) used.set(node, (used.get(node) ?? new Set()).add(output));
      }
    }
    return used;
  });

  /** The type of a node in view; one made up from its values and links where that is not installed. */
  typeOf(id: string, spec: NodeSpec): NodeType {
    return own(this.types, spec.type) ?? placeholder(spec, [...(this.used.get(id) ?? [])]);
  }

  connect(from: Link, to: Target): void {
    const spec = own(this.tab.workflow.nodes, to.node);
    const type = spec && own(this.types, spec.type);
    const many = (type && inputOf(type, to.input)?.many) ?? false;
    this.tab.edit(link(this.tab.workflow, from, to, many), "edit.link");
    this.say(t("said.linked", { from: `${from.node} ${from.output}`, to: `${to.node} ${to.input}` }));
  }

  /** Move an end of a link: to another input, or to another output. */
  relink(old: { from: Link; to: Target }, next: { from: Link; to: Target }): void {
    const spec = own(this.tab.workflow.nodes, next.to.node);
    const type = spec && own(this.types, spec.type);
    const many = (type && inputOf(type, next.to.input)?.many) ?? false;
    this.tab.edit(relink(this.tab.workflow, old, next, many), "edit.relink");
    this.say(t("said.linked", { from: `${next.from.node} ${next.from.output}`, to: `${next.to.node} ${next.to.input}` }));
  }

  /** Add a node at a place on the canvas, linked to `end` by the named port of its own where they are given. */
  add(type: string, at: Point, end: End | null = null, port: string | null = null): string {
    const { tab } = this;
    const id = freshId(tab.workflow, snakeCase(typeTitle(type)));
    let next = addNode(tab.workflow, id, type, { x: Math.round(at.x), y: Math.round(at.y) });
    if (end && port) {
      const [from, to] = end.side === "output"
        ? [{ node: end.node, output: end.name }, { node: id, input: port }]
        : [{ node: id, output: port }, { node: end.node, input: end.name }];
      const target = own(this.types, next.nodes[to.node]!.type);
      next = link(next, from, to, (target && inputOf(target, to.input)?.many) ?? false);
    }
    tab.edit(next, "edit.add");
    tab.choose({ nodes: new Set([id]) });
    this.settings.used(type);
    this.say(t("said.added", { type: typeTitle(type), node: id }));
    this.canvas?.focus(id);
    this.canvas?.reveal([id]);
    return id;
  }

  openMenu(at: Point, kind: "pane" | "node" | "edge", id: string | null): void {
    const { chosen } = this.tab;
    if (kind === "node" && id && !id.includes(":") && !chosen.nodes.has(id)) this.tab.choose({ nodes: new Set([id]) });
    if (kind === "edge" && id && !chosen.edges.has(id)) this.tab.choose({ edges: new Set([id]) });
    this.menu = { at, kind, id };
  }

  /** What the run that is shown tells of a node in view; of a use of a subgraph, of all that is in it. */
  runOf(id: string, spec: NodeSpec): NodeRun | undefined {
    const full = this.tab.fullId(id);
    return subgraphOf(spec) === null ? this.shown?.nodes.get(full) : this.shown?.within(full);
  }

  /** Whether the result of a node in view is there already; of a use of a subgraph, of all that is in it. */
  isCached(id: string, spec: NodeSpec): boolean {
    const { cached } = this.tab;
    const full = this.tab.fullId(id);
    if (!cached || subgraphOf(spec) === null) return cached?.has(full) ?? false;
    const inner = innerIds(this.tab.root, full);
    return inner.length > 0 && inner.every((one) => cached.has(one));
  }

  /** Bring a node, by its id in the whole document, and where it is given one of its inputs, into view and focus. */
  show(full: string, input: string | null = null): void {
    this.screen.graph = true;
    const path = full.split("/");
    const node = path.pop()!;
    const stays = path.join("/") === this.tab.path.join("/");
    if (!stays) this.tab.go(path);
    this.tab.choose({ nodes: new Set([node]) });
    if (stays) this.canvas?.fit([node]);
    setTimeout(() => {
      if (!stays) this.canvas?.fit([node]);
      const box = document.querySelector(`.svelte-flow__node[data-id="${CSS.escape(node)}"]`);
      const field = input && box?.querySelector<HTMLElement>(`[data-input="${CSS.escape(input)}"] :is(input, textarea, button.pill)`);
      if (field) field.focus();
      else this.canvas?.focus(node);
    }, this.calm ? 0 : 260);
  }

  enlarge(artifact: Artifact): void {
    this.large = artifact;
  }

  toggle(panel: Panel): void {
    this.panel = this.panel === panel ? null : panel;
  }

  /** Put a tab in front; the one that is added where it is new. */
  front(tab: Tab): void {
    // What was typed and not yet taken belongs to the tab that is left.
    (document.activeElement as HTMLElement | null)?.blur();
    this.toasts = this.toasts.filter((one) => one.tab === null || one.tab === tab);
    if (!this.tabs.includes(tab)) this.tabs = [...this.tabs, tab];
    this.active = this.tabs.indexOf(tab);
  }

  /** Close a tab; there is always one. What was in it is gone for good only when the tab is told to be. */
  remove(tab: Tab): void {
    this.toasts = this.toasts.filter((one) => one.tab !== tab);
    const rest = this.tabs.filter((one) => one !== tab);
    const active = Math.min(this.active, Math.max(0, rest.length - 1));
    this.tabs = rest.length ? rest : [new Tab()];
    this.active = active;
  }

  /** Tell something in passing. A newer one about the same takes its place; what fails in a tab is told while one is there. */
  toast(text: Toast["text"], kind: Toast["kind"] = "info", action?: Toast["action"], { about = action ? String(text) : kind, stays = false }: Told = {}): void {
    const id = (this.toastNumber += 1);
    const tab = stays || kind === "info" ? null : this.tab;
    this.toasts = [...this.toasts.filter((one) => one.about !== about).slice(-3), { id, kind, text, about, tab, ...(action ? { action } : {}) }];
    if (!stays) setTimeout(() => this.dismiss(id), kind === "error" ? 30_000 : action ? 12_000 : 4000);
  }

  /** Take away what was told about something that is over; of the tab in front, all that failed where nothing is named. */
  untell(about: string | null = null): void {
    this.toasts = this.toasts.filter((one) => (about === null ? one.tab !== this.tab : one.about !== about));
  }

  dismiss(id: number): void {
    this.toasts = this.toasts.filter((one) => one.id !== id);
  }

  /** Tell a screen reader. */
  say(text: string): void {
    this.status = text;
  }
}

export const [getApp, setApp] = createContext<App>();
