// From a page that has just loaded to an editor as it was left; and from then on, every draft kept.
import { untrack } from "svelte";
import { ApiFailure, type Client, type EventStream } from "../api/client";
import { t } from "../i18n/index.svelte";
import { App } from "./app.svelte";
import { tellImported } from "./comfy";
import { claimSession, keep, keepNow, recall, type Session } from "./drafts";
import { openTemplate, refreshFiles } from "./files";
import { offer, words } from "./say";
import { plan, PROBLEMS } from "./running";
import { Tab, type Draft } from "./tab.svelte";

const FIRST = "text_to_image";
const REST = 400; // milliseconds without an edit before a draft is kept

/** Which session this window has, and its drafts that could not be opened; they stay where they are. */
export interface Begun {
  slot: number;
  unread: Draft[];
}

/** Fill the editor: node types, the tabs of the last session or an example, the state of their runs. */
export async function begin(app: App): Promise<Begun> {
  const slot = await claimSession();
  const [session] = await Promise.all([recall(slot).catch(() => null), refreshNodes(app), refreshFiles(app)]);
  const unread: Draft[] = [];
  const tabs = (session?.drafts ?? []).flatMap((draft) => {
    try {
      const tab = Tab.restore(draft);
      if (Array.isArray(draft.imported?.nodes)) tellImported(tab, draft.imported);
      return [tab];
    } catch (error) {
      unread.push(draft);
      const action = { label: t("draft.download"), run: () => offer(`${draft.name ?? "draft"}.json`, JSON.stringify(draft.workflow ?? null)) };
      app.toast(t("draft.unread", { name: draft.name ?? t("tab.untitled"), message: words(error) }), "error", action, { stays: true });
      return [];
    }
  });
  if (tabs.length) {
    app.tabs = tabs;
    app.active = Math.max(0, app.tabs.findIndex((tab) => tab.id === session!.active));
  } else await openTemplate(app, FIRST);
  app.loaded = true;
  app.panels.refresh();
  app.client.system().then(({ editor }) => (app.outdated = editor ?? ""), () => undefined);
  for (const tab of app.tabs) {
    if (tab.run !== null) void app.runs.follow(tab.run, true).catch(() => (tab.run = null));
  }
  return { slot, unread };
}

export async function refreshNodes(app: App): Promise<void> {
  const { nodes, problems, comfyui } = await app.client.nodes();
  app.catalog = nodes;
  app.comfyui = comfyui;
  app.plugins = problems;
}

/** Keep what changed of the open tabs a moment after it changed, and at once when the page goes away. */
export function autosave(app: App, { slot, unread }: Begun): void {
  const known = new Map<string, string>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let failed = false;

  const mark = (tab: Tab) => [tab.name, tab.revision, tab.run, tab.imported?.file, JSON.stringify(tab.seeds), JSON.stringify(tab.lastSeeds)].join(" ");
  const last = new Map<string, { workflow: object; saved: object | null }>();

  function changed(tab: Tab): boolean {
    const before = last.get(tab.id);
    return known.get(tab.id) !== mark(tab) || before?.workflow !== tab.root || before.saved !== tab.saved;
  }

  const session = (): Session => ({ tabs: [...app.tabs, ...unread].map((one) => one.id), active: app.tab.id });

  async function store(all: boolean) {
    const drafts = app.tabs.filter((tab) => all || changed(tab));
    const open = new Set(app.tabs.map((tab) => tab.id));
    const gone = [...known.keys()].filter((id) => !open.has(id));
    for (const tab of drafts) {
      known.set(tab.id, mark(tab));
      last.set(tab.id, { workflow: tab.root, saved: tab.saved });
    }
    for (const id of gone) known.delete(id);
    try {
      await keep(slot, drafts.map((tab) => tab.draft()), gone, session());
    } catch (error) {
      if (!failed) app.toast(t("draft.failed", { message: words(error) }), "error", undefined, { about: "drafts", stays: true });
      failed = true;
    }
  }

  $effect(() => {
    void app.active;
    for (const tab of app.tabs) void [mark(tab), tab.root, tab.saved];
    clearTimeout(timer);
    timer = setTimeout(() => void store(false), REST);
  });
  addEventListener("pagehide", () => {
    keepNow(slot, app.tabs.map((tab) => tab.draft()), session());
    void store(true);
  });
  document.addEventListener("visibilitychange", () => document.hidden && void store(true));
}

/** Look, a moment after each edit and run, which results are there already. */
export function keepPlan(app: App): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  $effect(() => {
    void [app.tab.root, app.shown?.status, app.loaded];
    clearTimeout(timer);
    if (!app.loaded || app.shown?.status === "running") return;
    timer = setTimeout(() => void plan(app), 500);
  });
}

/** That there are problems is told no longer than there are any. */
export function keepToasts(app: App): void {
  $effect(() => {
    if (!app.problems.standing.length) untrack(() => app.untell(PROBLEMS));
  });
}

/** Follow the server's events; after a gap that it cannot fill, fetch the state again. */
export function listen(app: App, client: Client): EventStream {
  let known: string | null = null;
  return client.events({
    open: (version) => {
      app.connected = true;
      if (known !== null && version !== known) tellUpdated(app, version);
      known = version;
    },
    closed: () => (app.connected = false),
    reset: () => {
      void app.runs.resync();
      app.panels.refresh();
    },
    preview: (run, node, picture) => app.runs.takePreview(run, node, picture),
    event: (event) => {
      app.runs.take(event);
      app.panels.take(event);
      if (event.event === "nodes") void refreshNodes(app).catch(report(app));
    },
  });
}

/** This page came with the server before; it works on, but may ask for what the new one has no more. */
function tellUpdated(app: App, version: string): void {
  const action = { label: t("server.reload"), run: () => location.reload() };
  app.toast(t("server.updated", { version }), "info", action, { about: "version", stays: true });
}

const report = (app: App) => (error: unknown): void => {
  if (error instanceof ApiFailure) app.toast(words(error), "error");
  else throw error;
};
