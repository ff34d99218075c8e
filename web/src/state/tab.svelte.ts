// One open workflow: its history, what is selected, and what is known of its last run.
import type { Viewport } from "@xyflow/svelte";
import { withoutLost } from "../model/bends";
import { copy, duplicate, insert, type Pasted, type Selection } from "../model/clip";
import { asList, emptyWorkflow, own, readWorkflow, type JsonValue, type NodeSpec, type Workflow } from "../model/document";
import {
  removeFrames, removeNodes, setValue, unlink, type FrameKind, type Point, type Target,
} from "../model/edit";
import { begin, commit, redo, undo, type History } from "../model/history";
import type { Problem } from "../model/problems";
import { specAt, validPath, viewOf, withView } from "../model/subgraph";
import type { Imported, Report } from "./carried";
import { linkOfEdge } from "./edges";

export type SeedMode = "fixed" | "random" | "increment";

/** What a draft keeps of a tab, and a crash or a reload brings back. */
export interface Draft {
  id: string;
  name: string | null;
  revision: string | null;
  workflow: Workflow;
  saved: Workflow | null;
  seeds: { [address: string]: SeedMode };
  lastSeeds: { [address: string]: number };
  run: string | null;
  view: Viewport | null;
  imported: Imported | null;
}

export interface Chosen extends Selection {
  edges: ReadonlySet<string>;
}

export const NOTHING: Chosen = { nodes: new Set(), groups: new Set(), notes: new Set(), edges: new Set() };

const newId = () => Math.random().toString(36).slice(2, 12);
const OFFSET: Point = { x: 40, y: 40 };

export class Tab {
  readonly id: string;
  /** The name under which the workflow is stored on the server; null for one that never was. */
  name = $state<string | null>(null);
  revision = $state<string | null>(null);
  history = $state.raw<History>(begin(emptyWorkflow()));
  /** The workflow as it was last saved or opened; null where it was never saved. */
  saved = $state.raw<Workflow | null>(null);
  chosen = $state.raw<Chosen>(NOTHING);
  seeds = $state.raw<{ [address: string]: SeedMode }>({});
  lastSeeds = $state.raw<{ [address: string]: number }>({});
  /** The run whose state the nodes show. */
  run = $state<string | null>(null);
  /** The workflow as it was given to that run; null where that is not known any more. */
  submitted = $state.raw<Workflow | null>(null);
  /** What is to be read beside the canvas while this tab is in front; null where nothing is. */
  report = $state.raw<Report | null>(null);
  /** What the report says, where it is of an import. */
  imported = $state.raw<Imported | null>(null);
  /** Where the canvas was left, by the path that was in view. */
  readonly views = new Map<string, Viewport>();
  /** Results that are there already, by node, for the workflow as it stands; null where not known. */
  cached = $state.raw<ReadonlySet<string> | null>(null);
  private refused = $state.raw<{ problem: Problem; spec: NodeSpec | undefined }[]>([]);

  /** The whole document. */
  root = $derived(this.history.present);
  private wanted = $state.raw<readonly string[]>([]);
  /** The uses of subgraphs that lead to what is in view; empty for the whole document. */
  path = $derived(validPath(this.root, this.wanted));
  /** What is in view and edited: the document, or one of its subgraphs as if it were one. */
  workflow = $derived(this.path.length ? viewOf(this.root, this.path) : this.root);
  /** Whether there is something that was not saved; in a new tab that was not touched there is nothing. */
  dirty = $derived(this.history.present !== this.saved && (this.saved !== null || this.history.past.length > 0 || !isBlank(this.history.present)));
  title = $derived(this.name ?? this.root.title);
  /** What the server said of nodes that have not been changed since. */
  told = $derived(
    this.refused
      .filter(({ problem, spec }) => problem.node === null || specAt(this.root, problem.node) === spec)
      .map(({ problem }) => problem),
  );

  constructor(workflow: Workflow = emptyWorkflow(), id: string = newId()) {
    this.id = id;
    this.history = begin(workflow);
  }

  /**
   * The tab of a draft, which may be of an earlier editor, whose documents had fewer fields, or of a later one.
   *
   * Throws DocumentError where its workflow is none that this editor reads.
   */
  static restore(draft: Draft): Tab {
    const tab = new Tab(readWorkflow(draft.workflow), draft.id);
    tab.name = draft.name;
    tab.revision = draft.revision;
    const isSaved = draft.saved && JSON.stringify(draft.saved) === JSON.stringify(draft.workflow);
    tab.saved = isSaved ? tab.root : draft.saved && readWorkflow(draft.saved);
    tab.seeds = draft.seeds ?? {};
    tab.lastSeeds = draft.lastSeeds ?? {};
    tab.run = typeof draft.run === "string" ? draft.run : null;
    const { x, y, zoom } = draft.view ?? {};
    if ([x, y, zoom].every(Number.isFinite)) tab.views.set("", draft.view!);
    return tab;
  }

  draft(): Draft {
    const { id, name, revision, root: workflow, saved, seeds, lastSeeds, run, imported } = this;
    return { id, name, revision, workflow, saved, seeds, lastSeeds, run, imported, view: this.views.get("") ?? null };
  }

  /** Show a report instead of the one that is there; with null, none. */
  tell(report: Report | null, imported: Imported | null = null): void {
    this.report = report;
    this.imported = imported;
  }

  /** Show what is in a subgraph, by the uses that lead to it; none for the whole document. */
  go(path: readonly string[]): void {
    this.wanted = path;
    this.choose({});
  }

  /** A node that is in view, as the whole document names it. */
  fullId(id: string): string {
    return [...this.path, id].join("/");
  }

  /** Take an edit of what is in view. `label` is a message key; edits with one `key` in a row are one step. */
  edit(workflow: Workflow, label: string, key?: string): void {
    if (workflow !== this.workflow) this.editRoot(withView(this.root, this.path, withoutLost(workflow)), label, key);
  }

  /** Take an edit of the whole document into the history. */
  editRoot(workflow: Workflow, label: string, key?: string): void {
    this.history = commit(this.history, workflow, label, Date.now(), key);
  }

  undo(): void {
    this.history = undo(this.history);
    this.forgetMissing();
  }

  redo(): void {
    this.history = redo(this.history);
    this.forgetMissing();
  }

  setValue(to: Target, value: JsonValue | undefined): void {
    this.edit(setValue(this.workflow, to, value), "edit.value", `value ${to.node}.${to.input}`);
  }

  setSeedMode(address: string, mode: SeedMode): void {
    this.seeds = { ...this.seeds, [address]: mode };
  }

  choose(chosen: Partial<Chosen>): void {
    this.chosen = { ...NOTHING, ...chosen };
  }

  chooseAll(): void {
    const all = (kind: FrameKind) => new Set(this.workflow[kind].keys());
    this.choose({ nodes: new Set(Object.keys(this.workflow.nodes)), groups: all("groups"), notes: all("notes") });
  }

  deleteChosen(): void {
    let next = this.workflow;
    for (const id of this.chosen.edges) {
      const { from, to } = linkOfEdge(id);
      next = unlink(next, from, to);
    }
    next = removeNodes(next, this.chosen.nodes);
    next = removeFrames(next, "groups", this.chosen.groups);
    next = removeFrames(next, "notes", this.chosen.notes);
    this.edit(next, "edit.delete");
    this.choose({});
  }

  copied(): string | null {
    const { nodes, groups, notes } = this.chosen;
    return nodes.size + groups.size + notes.size ? copy(this.workflow, this.chosen) : null;
  }

  /** Paste a part of a workflow so that its upper left corner lies at `at`. */
  paste(part: Workflow, at: Point | null): void {
    this.put(insert(this.workflow, part, offsetTo(part, at)), "edit.paste");
  }

  duplicate(offset: Point = OFFSET): void {
    if (!this.copied()) return;
    this.put(duplicate(this.workflow, this.chosen, offset), "edit.duplicate");
  }

  refuse(problems: Problem[]): void {
    this.refused = problems.map((problem) => ({
      problem, spec: problem.node === null ? undefined : specAt(this.root, problem.node),
    }));
  }

  private put({ workflow, nodes, groups, notes }: Pasted, label: string): void {
    this.edit(workflow, label);
    this.choose({ nodes: new Set(nodes), groups: new Set(groups), notes: new Set(notes) });
  }

  private forgetMissing(): void {
    const { workflow } = this;
    const isThere = (edge: string) => {
      const { from, to } = linkOfEdge(edge);
      return asList(own(own(workflow.nodes, to.node)?.links ?? {}, to.input)).some((one) => one.node === from.node && one.output === from.output);
    };
    const nodes = new Set([...this.chosen.nodes].filter((id) => Object.hasOwn(workflow.nodes, id)));
    this.choose({ nodes, edges: new Set([...this.chosen.edges].filter(isThere)) });
  }
}

const isBlank = ({ nodes, groups, notes }: Workflow): boolean => Object.keys(nodes).length + groups.length + notes.length === 0;

function offsetTo(part: Workflow, at: Point | null): Point {
  const places = [...Object.values(part.layout), ...part.groups, ...part.notes];
  if (!at || !places.length) return OFFSET;
  const least = (axis: "x" | "y") => places.reduce((low, place) => Math.min(low, place[axis]), Infinity);
  return { x: Math.round(at.x - least("x")), y: Math.round(at.y - least("y")) };
}
