// How long runs will still take: from how far they are, and from how long others took.
import type { Run } from "../api/generated";

/** How far a running run is. */
export interface Pace {
  /** Share of the nodes that are done, the computing one by its steps; null where nothing is known. */
  share: number | null;
  started: number;
}

const LATELY = 8;

/** The median time of the last finished runs, of the same title where there are any; null where none has finished. */
export function usual(runs: readonly Run[], title: string): number | null {
  const done = runs.filter((run) => run.status === "succeeded" && run.seconds !== null);
  const alike = done.filter((run) => run.title === title);
  const times = (alike.length ? alike : done).slice(0, LATELY).map((run) => run.seconds!).sort((a, b) => a - b);
  if (!times.length) return null;
  const middle = times.length >> 1;
  return times.length % 2 ? times[middle]! : (times[middle - 1]! + times[middle]!) / 2;
}

/**
 * Seconds that a running run still takes. Early on, nodes done say little, so that the usual time weighs more; at the
 * end what it has taken so far is all that counts.
 */
export function remaining(pace: Pace, now: number, expected: number | null): number | null {
  const elapsed = Math.max(0, now - pace.started);
  const { share } = pace;
  const measured = share !== null && share > 0.02 ? elapsed / share - elapsed : null;
  const known = expected === null ? null : Math.max(0, expected - elapsed);
  if (measured === null || known === null) return measured ?? known;
  return measured * share! + known * (1 - share!);
}

/** Seconds until each queued run is done, in their order; null from where nothing is known. */
export function arrivals(queued: readonly Run[], runs: readonly Run[], busy: readonly (number | null)[], workers = 1): (number | null)[] {
  const free = Array.from({ length: Math.max(1, workers) }, (_, index) => (index < busy.length ? busy[index]! : 0));
  let known = free.every((one) => one !== null);
  return queued.map((run) => {
    const takes = usual(runs, run.title);
    known &&= takes !== null;
    if (!known) return null;
    const next = free.indexOf(Math.min(...(free as number[])));
    free[next] = free[next]! + takes!;
    return free[next]!;
  });
}
