// The pictures that runs made, newest first: fetched page by page, kept up to date by events.
import type { Client, ServerEvent } from "../api/client";
import type { Artifact, ImportedWorkflow } from "../api/generated";

const PAGE = 60;

export class GalleryFeed {
  items = $state.raw<readonly Artifact[]>([]);
  loaded = $state(false);
  problem = $state("");
  /** Where the next page begins; null where this is all. */
  next = $state<string | null>(null);
  private loading = false;
  /** What was deleted here, the last one last: it can be taken back. */
  removed = $state.raw<readonly Artifact[]>([]);
  /** An answer that is older than the deletion of a picture does not bring it back. */
  private readonly deleted = new Set<string>();
  private readonly receipts = new Map<string, Promise<ImportedWorkflow>>();

  constructor(private readonly client: Client) {}

  /** Fetch the newest page; older ones that were fetched, and what events tell meanwhile, stay. */
  async refresh(): Promise<void> {
    const before = new Set(this.items.map((one) => one.id));
    await this.ask(async () => {
      const { artifacts, next } = await this.client.gallery({ limit: PAGE });
      const here = new Set(artifacts.map((one) => one.id));
      const newest = artifacts[0]?.created ?? -Infinity;
      const told = this.items.filter((one) => !before.has(one.id) && !here.has(one.id) && one.created >= newest);
      const end = next === null ? -1 : this.items.findIndex((one) => one.id === artifacts.at(-1)?.id);
      const older = end < 0 ? [] : this.items.slice(end + 1);
      this.items = [...told, ...artifacts.filter((one) => !this.deleted.has(one.id)), ...older];
      if (!older.length) this.next = next;
      this.loaded = true;
    });
  }

  async more(): Promise<void> {
    if (this.next === null || this.loading) return;
    this.loading = true;
    await this.ask(async () => {
      const { artifacts, next } = await this.client.gallery({ limit: PAGE, before: this.next });
      this.add(artifacts, false);
      this.next = next;
    });
    this.loading = false;
  }

  take(event: ServerEvent): void {
    if (event.event === "finished" && event.artifacts?.length) this.add(event.artifacts.toReversed(), true);
    if (event.event === "artifact" && event.artifact) {
      if (event.deleted) this.drop(event.artifact);
      else {
        this.deleted.delete(event.artifact);
        void this.refresh();
      }
    }
  }

  private drop(id: string): void {
    this.deleted.add(id);
    this.items = this.items.filter((one) => one.id !== id);
  }

  private add(artifacts: readonly Artifact[], first: boolean): void {
    const known = new Set([...this.deleted, ...this.items.map((one) => one.id)]);
    const fresh = artifacts.filter((one) => !known.has(one.id));
    this.items = first ? [...fresh, ...this.items] : [...this.items, ...fresh];
  }

  /** Delete a picture. Returns whether it is gone. */
  async remove(artifact: Artifact): Promise<boolean> {
    return this.ask(async () => {
      await this.client.deleteArtifact(artifact.id);
      this.drop(artifact.id);
      this.removed = [...this.removed, artifact];
    });
  }

  /** Take back the last deletion. Returns the picture, back at its place; null where there is none to take back. */
  async undo(): Promise<Artifact | null> {
    const last = this.removed.at(-1);
    return last ? this.restore(last.id) : null;
  }

  /** Take a picture out of the trash. Returns it, back at its place; null where that could not be done. */
  async restore(id: string): Promise<Artifact | null> {
    this.removed = this.removed.filter((one) => one.id !== id);
    let back: Artifact | null = null;
    await this.ask(async () => {
      back = await this.client.restoreArtifact(id);
      this.deleted.delete(id);
      const later = this.items.filter((one) => one.created > back!.created && one.id !== id);
      const others = this.items.filter((one) => one.created <= back!.created && one.id !== id);
      this.items = [...later, back, ...others];
    });
    return back;
  }

  /** What made a picture, and its receipt; asked for once. */
  origin(artifact: Artifact): Promise<ImportedWorkflow> {
    const known = this.receipts.get(artifact.id);
    if (known) return known;
    const asked = this.client.artifactWorkflow(artifact.id);
    asked.catch(() => this.receipts.delete(artifact.id));
    this.receipts.set(artifact.id, asked);
    return asked;
  }

  private async ask(request: () => Promise<void>): Promise<boolean> {
    try {
      await request();
      this.problem = "";
      return true;
    } catch (error) {
      this.problem = error instanceof Error ? error.message : String(error);
      return false;
    }
  }
}
