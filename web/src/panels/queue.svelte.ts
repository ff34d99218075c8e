// The runs of the server as the queue panel shows them: fetched once, then kept up to date by events.
import { SvelteMap } from "svelte/reactivity";
import type { Client, ServerEvent } from "../api/client";
import type { Run } from "../api/generated";

const SHOWN = 60;
const OVER = new Set(["finished", "failed", "cancelled", "retrying"]);

/** How far a running run is, as the server foretold it last. */
interface Outlook {
  share: number | null;
  /** When it ends, in seconds since 1970; null where that is not known. */
  ends: number | null;
  node: string | null;
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

  private readonly outlooks = new SvelteMap<string, Outlook>();
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
      for (const run of this.running) this.foretell(run.id, run.share, run.left, run.node);
    } catch (error) {
      this.problem = error instanceof Error ? error.message : String(error);
    }
  }

  private foretell(run: string, share: number | null | undefined, left: number | null | undefined, node: string | null): void {
    this.outlooks.set(run, { share: share ?? null, ends: left == null ? null : Date.now() / 1000 + left, node });
  }

  /** Take an event of the server. */
  take(event: ServerEvent): void {
    if (event.run && event.node) {
      if (event.share !== undefined) this.foretell(event.run, event.share, event.left, event.node);
    } else if (event.run || event.event === "queue") {
      if (event.run && OVER.has(event.event)) this.outlooks.delete(event.run);
      void this.refresh();
    }
  }

  /** Share of a running run that is done; null where that is not known. */
  share(run: Run): number | null {
    return this.outlooks.get(run.id)?.share ?? null;
  }

  /** Seconds that a running run still takes at this moment; null where that is not known. */
  left(run: Run, now: number): number | null {
    const ends = this.outlooks.get(run.id)?.ends ?? null;
    return ends === null ? null : Math.max(0, ends - now);
  }

  /** The node that a run computes. */
  node(run: Run): string | null {
    return this.outlooks.get(run.id)?.node ?? null;
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
