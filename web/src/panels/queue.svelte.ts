// The runs of the server as the queue panel shows them: fetched once, then kept up to date by events.
import { SvelteMap } from "svelte/reactivity";
import type { Client, ServerEvent } from "../api/client";
import type { Run } from "../api/generated";

const SHOWN = 60;
const OVER = new Set(["finished", "failed", "cancelled", "retrying"]);

/** The nodes of a running run that are done, and the one that computes. */
interface Work {
  total: number;
  done: Set<string>;
  node: string | null;
  part: number;
}

export class QueueFeed {
  runs = $state.raw<readonly Run[]>([]);
  paused = $state(false);
  loaded = $state(false);
  workers = $state(1);
  /** Why the last request failed; empty where it did not. */
  problem = $state("");
  running = $derived(this.runs.filter((run) => run.status === "running"));
  queued = $derived(this.runs.filter((run) => run.status === "queued"));
  over = $derived(this.runs.filter((run) => run.status !== "running" && run.status !== "queued"));

  private readonly work = new SvelteMap<string, Work>();
  private fetching: Promise<void> | null = null;
  private again = false;

  constructor(private readonly client: Client) {}

  /** Fetch the queue; asked again meanwhile, once more after that. */
  refresh(): Promise<void> {
    if (this.fetching) this.again = true;
    this.fetching ??= this.load().finally(() => {
      this.fetching = null;
      if (this.again) {
        this.again = false;
        void this.refresh();
      }
    });
    return this.fetching;
  }

  private async load(): Promise<void> {
    try {
      const [{ runs }, { paused }] = await Promise.all([this.client.runs({ limit: SHOWN }), this.client.queue()]);
      if (!this.loaded) this.workers = Math.max(1, (await this.client.system()).workers.length);
      this.runs = runs;
      this.paused = paused;
      this.problem = "";
      this.loaded = true;
      await Promise.all(this.running.filter((run) => !this.work.get(run.id)?.total).map((run) => this.look(run.id)));
    } catch (error) {
      this.problem = error instanceof Error ? error.message : String(error);
    }
  }

  /** Ask how far a run is that began before this page did. */
  private async look(id: string): Promise<void> {
    const { total, nodes, status } = await this.client.run(id);
    if (status !== "running" || total === null || this.work.get(id)?.total) return;
    const states = Object.entries(nodes);
    const now = states.find(([, one]) => one.state === "running");
    this.work.set(id, {
      total, done: new Set(states.filter(([, one]) => one.state !== "running").map(([node]) => node)),
      node: now?.[0] ?? null, part: now?.[1].total ? (now[1].step ?? 0) / now[1].total : 0,
    });
  }

  /** Take an event of the server. */
  take(event: ServerEvent): void {
    if (event.run && event.node) this.step(event.run, event.node, event);
    else if (event.event === "started" && event.run) {
      this.work.set(event.run, { total: event.total ?? 0, done: new Set(), node: null, part: 0 });
      void this.refresh();
    } else if (event.run || event.event === "queue") {
      if (event.run && OVER.has(event.event)) this.work.delete(event.run);
      void this.refresh();
    }
  }

  private step(run: string, node: string, event: ServerEvent): void {
    const work = this.work.get(run) ?? { total: this.runs.find((one) => one.id === run)?.total ?? 0, done: new Set<string>(), node: null, part: 0 };
    if (event.event === "progress") {
      this.work.set(run, { ...work, node, part: event.total ? (event.step ?? 0) / event.total : 0 });
    } else if (event.event === "started") this.work.set(run, { ...work, node, part: 0 });
    else this.work.set(run, { ...work, done: new Set(work.done).add(node), part: 0 });
  }

  /** Share of a running run that is done; null where its size is not known. */
  share(run: Run): number | null {
    const work = this.work.get(run.id);
    if (!work?.total) return null;
    return Math.min(1, (work.done.size + work.part) / work.total);
  }

  /** The node that a run computes. */
  node(run: Run): string | null {
    return this.work.get(run.id)?.node ?? null;
  }

  cancel = (run: Run) => this.ask(() => this.client.cancel(run.id));
  prioritise = (run: Run, priority: number) => this.ask(() => this.client.changeRun(run.id, { priority }));
  clear = () => this.ask(() => this.client.clearQueue());
  setPaused = (paused: boolean) => this.ask(() => (paused ? this.client.pause() : this.client.resume()));

  /** Move a queued run to a place among the queued, shown at once and told to the server. */
  move(run: Run, place: number): Promise<void> {
    const others = this.queued.filter((one) => one.id !== run.id);
    const before = others[place] ?? null;
    this.runs = [...this.running, ...others.slice(0, place), run, ...others.slice(place), ...this.over];
    return this.ask(() => this.client.moveRun(run.id, before?.id ?? null));
  }

  private async ask(request: () => Promise<unknown>): Promise<void> {
    let problem = "";
    try {
      await request();
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error);
    }
    await this.refresh();
    if (problem) this.problem = problem;
  }
}
