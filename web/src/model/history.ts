// Undo and redo over whole immutable documents. Edits of one kind in quick succession become one step.
import type { Workflow } from "./document";

export interface Step {
  label: string;
  workflow: Workflow;
}

const PAUSE = 1200; // milliseconds of rest that end a run of typing or dragging
const DEPTH = 500;

export interface History {
  readonly present: Workflow;
  readonly past: readonly Step[];
  readonly future: readonly Step[];
  readonly key: string | null;
  readonly time: number;
}

export const begin = (workflow: Workflow): History => ({ present: workflow, past: [], future: [], key: null, time: 0 });

/** The history after an edit. Edits with the same `key` without a pause between them are one step. */
export function commit(history: History, workflow: Workflow, label: string, now: number, key?: string): History {
  if (workflow === history.present) return history;
  const joins = key !== undefined && key === history.key && now - history.time < PAUSE && history.past.length > 0;
  const past = joins ? history.past : [...history.past, { label, workflow: history.present }].slice(-DEPTH);
  return { present: workflow, past, future: [], key: key ?? null, time: now };
}

/** One step back; each step keeps the label of the edit that it takes back. */
export function undo(history: History): History {
  const last = history.past.at(-1);
  if (!last) return history;
  const undone = { label: last.label, workflow: history.present };
  return {
    present: last.workflow, past: history.past.slice(0, -1), future: [undone, ...history.future], key: null, time: 0,
  };
}

export function redo(history: History): History {
  const [next, ...future] = history.future;
  if (!next) return history;
  const done = { label: next.label, workflow: history.present };
  return { present: next.workflow, past: [...history.past, done], future, key: null, time: 0 };
}
