// Workflows that come from elsewhere or go there, and what is to be read of that.
import type { ImportedNode, ImportedWorkflow } from "../api/generated";
import type { Workflow } from "../model/document";

/** A file, the workflow in it, and what became of its nodes where ComfyUI made it. */
export interface Carried {
  file: File;
  workflow: Workflow;
  nodes: ImportedNode[];
  /** Which seeds are others in each run, by `node.input`. */
  seeds: ImportedWorkflow["seeds"];
}

/** What an import said of each node, and of which file: a report of it can be made again in another language. */
export interface Imported {
  file: string;
  nodes: ImportedNode[];
}

/** One line of a report: a node of its tab (null where it is about more than one), and what is said of it. */
export interface Line {
  node: string | null;
  input: string | null;
  type: string;
  message: string;
}
/** What is to be read of the workflow of a tab, which came from elsewhere or goes there. */
export interface Report {
  title: string;
  /** Lines under their headings; those of a folded part are shown when asked for. */
  parts: { heading: string; folded: boolean; lines: Line[] }[];
  /** What is offered below; null where nothing is. */
  action: { label: string; run: () => void } | null;
}
