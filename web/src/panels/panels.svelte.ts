// What the panels hold between them: the feeds, and what is open above the editor.
import { SvelteMap } from "svelte/reactivity";
import type { Client, ServerEvent } from "../api/client";
import type { Artifact } from "../api/generated";
import { GalleryFeed } from "./gallery.svelte";
import { numbersIn } from "./plot";
import { QueueFeed } from "./queue.svelte";

/** A mask that is being painted. */
export interface Painting {
  picture: string;
  saved: string | null;
  save: (mask: Blob) => Promise<void>;
}

/** Series of numbers that a node told while it worked, by name. */
export type Numbers = { readonly [name: string]: readonly number[] };

const POINTS = 2000;
const RUNS = 8;

export class Panels {
  readonly queue: QueueFeed;
  readonly gallery: GalleryFeed;
  /** The pictures that the large one stands among. */
  among = $state.raw<readonly Artifact[]>([]);
  comparing = $state.raw<{ left: Artifact; right: Artifact } | null>(null);
  painting = $state.raw<Painting | null>(null);
  plotting = $state.raw<{ title: string; numbers: () => Numbers } | null>(null);
  /** Grows with everything that is deleted, or comes back. */
  deletions = $state(0);
  private readonly told = new SvelteMap<string, SvelteMap<string, Numbers>>();

  constructor(client: Client) {
    this.queue = new QueueFeed(client);
    this.gallery = new GalleryFeed(client);
  }

  /** Fetch everything: at the start, and after events were missed. */
  refresh(): void {
    void this.queue.refresh();
    void this.gallery.refresh();
  }

  take(event: ServerEvent): void {
    this.queue.take(event);
    this.gallery.take(event);
    if (event.event === "artifact" || event.event === "workflow") this.deletions += 1;
    if (event.event === "progress" && event.run && event.node && event.note) this.plot(event.run, event.node, event.note);
  }

  /** The numbers that a node of a run told so far; none where there is no line to draw. */
  numbers(run: string, node: string): Numbers {
    return this.told.get(run)?.get(node) ?? {};
  }

  private plot(run: string, node: string, note: string): void {
    const now = Object.entries(numbersIn(note));
    if (!now.length) return;
    let nodes = this.told.get(run);
    if (!nodes) {
      nodes = new SvelteMap();
      this.told.set(run, nodes);
      for (const old of [...this.told.keys()].slice(0, -RUNS)) this.told.delete(old);
    }
    const before = nodes.get(node) ?? {};
    const after = now.map(([name, value]) => [name, [...(before[name] ?? []), value].slice(-POINTS)] as const);
    nodes.set(node, { ...before, ...Object.fromEntries(after) });
  }
}
