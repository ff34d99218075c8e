// All problems of the workflow in view: what the editor finds itself, what the server said, and why the last run failed.
import { groupBy } from "../lib/group";
import { problemsOf, spoken, type Problem } from "../model/problems";
import type { App } from "./app.svelte";
import { say } from "./say";

const NONE: Problem[] = [];

export class Problems {
  constructor(private readonly app: App) {}

  private own = $derived.by(() => (this.app.loaded ? problemsOf(this.app.tab.workflow, this.app.types) : NONE));
  /** Of the run that is shown; it holds for a node until that is changed. */
  private failed = $derived.by(() => {
    const error = this.app.shown?.status === "failed" ? this.app.shown.error : null;
    if (!error) return NONE;
    const all = error.problems.map((one) => spoken(one.message, one.node, one.input));
    const { submitted, workflow } = this.app.tab;
    const holds = (node: string | null) => node === null || !submitted || submitted.nodes[node] === workflow.nodes[node];
    return (all.length ? all : [spoken(error.message, error.node, error.input)]).filter((one) => holds(one.node));
  });
  all = $derived.by(() => {
    const seen = new Set<string>();
    return [...this.own, ...this.app.tab.told, ...this.failed].filter((one) => {
      const key = `${one.node} ${one.input} ${one.key || say(one)}`;
      return !seen.has(key) && seen.add(key);
    });
  });
  private byNode = $derived(groupBy(this.all, (one) => one.node ?? ""));

  of(node: string): Problem[] {
    return this.byNode.get(node) ?? NONE;
  }

  /** What keeps a run from being asked for at all. */
  get blocking(): Problem[] {
    return this.own;
  }

  says(node: string, message: string): boolean {
    return this.of(node).some((one) => !one.key && one.slots["message"] === message);
  }
}
