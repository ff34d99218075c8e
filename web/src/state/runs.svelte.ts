// The runs that this editor shows, kept up to date by the server's events.
import { SvelteMap } from "svelte/reactivity";
import type { Artifact, NodeProgress, RunDetails, RunFailure } from "../api/generated";
import type { Client, ServerEvent } from "../api/client";
import { groupBy } from "../lib/group";

export class NodeRun {
  state = $state<NodeProgress["state"]>("running");
  step = $state<number | null>(null);
  total = $state<number | null>(null);
  note = $state("");
  seconds = $state<number | null>(null);
  message = $state<string | null>(null);
  input = $state<string | null>(null);
  artifacts = $state.raw<readonly Artifact[]>([]);
  preview = $state<string | null>(null);
}

export class RunView {
  readonly nodes = new SvelteMap<string, NodeRun>();
  status = $state<RunDetails["status"]>("queued");
  total = $state<number | null>(null);
  seconds = $state<number | null>(null);
  started = $state<number | null>(null);
  error = $state.raw<RunFailure | null>(null);
  retrying = $state<string | null>(null);

  private finish!: () => void;
  /** Resolved when the run has ended, however it did. */
  readonly over = new Promise<void>((resolve) => (this.finish = resolve));

  /** Events that came while the whole state was being fetched; null where it is not. */
  private waiting: ServerEvent[] | null = null;

  constructor(readonly id: string, private readonly whenDone: (view: RunView) => void) {}

  active = $derived(this.status === "queued" || this.status === "running");
  /** The share of the work that is done; null where not known. */
  share = $state<number | null>(null);
  /** When it ends, in seconds since 1970, by what the server foretold last; null where that is not known. */
  ends = $state<number | null>(null);

  node(id: string): NodeRun {
    let found = this.nodes.get(id);
    if (!found) this.nodes.set(id, (found = new NodeRun()));
    return found;
  }

  /** All that runs under a use of a subgraph, as if it were one node; undefined while nothing is known of it. */
  within(use: string): NodeRun | undefined {
    const inner = [...this.nodes].filter(([id]) => id.startsWith(`${use}/`)).map(([, node]) => node);
    if (!inner.length) return undefined;
    const one = (state: NodeRun["state"]) => inner.find((node) => node.state === state);
    const last = one("failed") ?? one("running") ?? one("cancelled");
    const whole = new NodeRun();
    whole.state = last?.state ?? (one("finished") ? "finished" : "cached");
    whole.step = last?.step ?? null;
    whole.total = last?.total ?? null;
    whole.note = last?.note ?? "";
    whole.message = last?.message ?? null;
    whole.preview = one("running")?.preview ?? null;
    const times = inner.map((node) => node.seconds).filter((seconds) => seconds !== null);
    whole.seconds = times.length ? times.reduce((sum, seconds) => sum + seconds) : null;
    whole.artifacts = inner.flatMap((node) => node.artifacts);
    return whole;
  }

  /** Fetch the whole state. Events that come meanwhile wait, and those that it includes already are dropped. */
  async load(fetching: Promise<RunDetails>): Promise<void> {
    this.waiting ??= [];
    try {
      const run = await fetching;
      this.put(run);
      this.waiting = this.waiting.filter((event) => "number" in event && event.number > run.event);
    } finally {
      const events = this.waiting;
      this.waiting = null;
      for (const event of events) this.take(event);
    }
  }

  private put(run: RunDetails): void {
    this.status = run.status;
    this.total = run.total;
    this.seconds = run.seconds;
    this.started = run.started;
    this.error = run.error;
    this.foretell(run.share, run.left);
    for (const [id, progress] of Object.entries(run.nodes)) {
      const { state, step, total, note, seconds, message, input } = progress;
      Object.assign(this.node(id), { state, step, total, note, seconds, message, input });
    }
    const byNode = groupBy(run.artifacts, (one) => one.node ?? "");
    for (const [id, artifacts] of byNode) if (id) this.node(id).artifacts = artifacts;
    if (!this.active) this.finish();
  }

  private foretell(share: number | null | undefined, left: number | null | undefined): void {
    this.share = share ?? null;
    this.ends = left == null ? null : Date.now() / 1000 + left;
  }

  take(event: ServerEvent): void {
    if (this.waiting) this.waiting.push(event);
    else if ("node" in event && event.node) this.takeNode(event, event.node);
    else this.takeRun(event);
  }

  private takeRun(event: ServerEvent): void {
    switch (event.event) {
      case "started":
        this.status = "running";
        this.total = event.total ?? null;
        this.started = event.time;
        this.retrying = null;
        this.foretell(0, null);
        this.nodes.clear();
        break;
      case "finished":
        this.end("succeeded", event.seconds ?? null);
        this.whenDone(this);
        break;
      case "failed":
        this.error = event.error ?? null;
        this.end("failed", null);
        break;
      case "cancelled": this.end("cancelled", null); break;
      case "retrying":
        this.status = "queued";
        this.retrying = event.message ?? "";
        break;
    }
  }

  private takeNode(event: ServerEvent, id: string): void {
    const node = this.node(id);
    if (event.share !== undefined) this.foretell(event.share, event.left);
    switch (event.event) {
      case "started": node.state = "running"; break;
      case "cached": node.state = "cached"; break;
      case "progress":
        node.state = "running";
        node.step = event.step ?? null;
        node.total = event.total ?? null;
        node.note = event.note ?? "";
        break;
      case "finished":
        node.state = "finished";
        node.seconds = event.seconds ?? null;
        if (event.artifacts?.length) node.artifacts = event.artifacts;
        break;
      case "failed":
        node.state = "failed";
        node.message = event.message ?? "";
        node.input = event.input ?? null;
        break;
      case "cancelled": node.state = "cancelled"; break;
    }
  }

  private end(status: RunDetails["status"], seconds: number | null): void {
    this.status = status;
    this.seconds = seconds;
    for (const node of this.nodes.values()) if (node.state === "running") node.state = status === "failed" ? "failed" : "cancelled";
    this.finish();
  }
}

const KEPT = 60;

export class Runs {
  private readonly views = new SvelteMap<string, RunView>();

  constructor(private readonly client: Client) {}

  get(id: string | null): RunView | undefined {
    return id === null ? undefined : this.views.get(id);
  }

  /** Follow a run: from the events on, and with what has happened so far where `load` asks for it. */
  async follow(id: string, load: boolean): Promise<RunView> {
    const view = this.views.get(id) ?? new RunView(id, (done) => this.complete(done));
    this.views.set(id, view);
    this.forget();
    if (load) await view.load(this.client.run(id));
    return view;
  }

  take(event: ServerEvent): void {
    if (event.run !== undefined) this.views.get(event.run)?.take(event);
  }

  takePreview(run: string, node: string, picture: Blob): void {
    const view = this.views.get(run);
    if (!view || view.status !== "running") return;
    const target = view.node(node);
    if (target.preview) URL.revokeObjectURL(target.preview);
    target.preview = URL.createObjectURL(picture);
  }

  /** Ask for the whole state of every run that was not over: after events were missed. */
  async resync(): Promise<void> {
    await Promise.all([...this.views.values()].filter((view) => view.active).map((view) => this.follow(view.id, true)));
  }

  // A node that wrote a file in an earlier run tells nothing of it in this one; the run as a whole does.
  private complete(view: RunView): void {
    if ([...view.nodes.values()].some((node) => node.state === "cached")) {
      void this.follow(view.id, true).catch(() => undefined);
    }
  }

  private forget(): void {
    for (const [id, view] of this.views) {
      if (this.views.size <= KEPT) break;
      if (view.active) continue;
      for (const node of view.nodes.values()) if (node.preview) URL.revokeObjectURL(node.preview);
      this.views.delete(id);
    }
  }
}
