// All problems of the workflow in view: what the editor finds itself, what the server said, and why the last run failed.
import { groupBy } from "../lib/group";
import { own } from "../model/document";
import { problemsOf, spoken, type Problem } from "../model/problems";
import { definitionAt, promoted, specAt } from "../model/subgraph";
import { isModel, missingFiles, toldMissing, type Known } from "./missing";
import type { RunView } from "./runs.svelte";
import { say } from "./say";
import type { Tab } from "./tab.svelte";

const NONE: Problem[] = [];

const placeOf = (node: string | null, input: string | null): string => `${node} ${input}`;

/** Where a problem is: a node and an input, or every node of a circle. */
const placesOf = ({ node, input, key, slots }: Problem): string[] =>
  key === "problem.cycle" ? String(slots["nodes"]).split(" → ").map((one) => placeOf(one, null)) : [placeOf(node, input)];

/** What is asked of the editor: the workflow in view, the types and files that there are, and the run that is shown. */
interface Asked extends Known {
  readonly loaded: boolean;
  readonly tab: Tab;
  readonly inView: string | null;
  readonly shown: RunView | undefined;
}

export class Problems {
  constructor(private readonly app: Asked) {}

  private own = $derived.by(() => (this.app.loaded ? problemsOf(this.app.tab.root, this.app.types) : NONE));
  /** Of the subgraph that is in view; what its ports are given from outside is not missing. */
  private viewed = $derived.by(() => {
    const { tab, types, inView } = this.app;
    const definition = inView === null ? undefined : own(tab.root.subgraphs, inView);
    if (!definition) return NONE;
    return problemsOf(tab.workflow, types)
      .filter((one) => !(one.node && one.input && ["problem.value", "problem.link"].includes(one.key) && promoted(definition, one.node, one.input)))
      .map((one) => (one.node === null ? one : { ...one, node: tab.fullId(one.node) }));
  });
  /** Of the run that is shown; it holds for a node until that is changed. */
  private failed = $derived.by(() => {
    const error = this.app.shown?.status === "failed" ? this.app.shown.error : null;
    if (!error) return NONE;
    const all = error.problems.map((one) => spoken(one.message, one.node, one.input));
    const { submitted, root } = this.app.tab;
    const holds = (node: string | null) => node === null || !submitted || specAt(submitted, node) === specAt(root, node);
    return (all.length ? all : [{ ...spoken(error.message, error.node, error.input), raised: error.raised }]).filter((one) => holds(one.node));
  });
  /** What is wrong with the workflow as it stands; the server's word only where the editor has found nothing itself. */
  standing = $derived.by(() => {
    const found = [...this.own, ...this.viewed];
    const taken = new Set(found.flatMap(placesOf));
    const told = this.app.tab.told.filter((one) => !this.seenAs(one).some((place) => taken.has(place)));
    return this.once([...found, ...told]);
  });
  all = $derived.by(() => this.once([...this.standing, ...this.failed]));
  private byNode = $derived(groupBy(this.all.flatMap((one) => this.inView(one) ?? []), (one) => one.node ?? ""));

  /** Each problem one time, in words of the editor where it has them. */
  private once(problems: Problem[]): Problem[] {
    const seen = new Set<string>();
    return problems.map((one) => (one.key ? one : (this.missing(one, false) ?? one))).filter((one) => {
      const key = `${one.node} ${one.input} ${one.key || say(one)}`;
      return !seen.has(key) && seen.add(key);
    });
  }

  /** The place of a problem, and after it the inputs of subgraphs as which it is seen from outside. */
  private seenAs(problem: Problem): string[] {
    const { root } = this.app.tab;
    const places = placesOf(problem);
    for (let { node, input } = problem; node?.includes("/") && input !== null;) {
      const outside = node.slice(0, node.lastIndexOf("/"));
      const definition = own(root.subgraphs, definitionAt(root, outside.split("/")) ?? "");
      const port = definition && promoted(definition, node.slice(outside.length + 1), input);
      if (!port) break;
      [node, input] = [outside, port];
      places.push(placeOf(node, input));
    }
    return places;
  }

  /**
   * What the server says of an input whose file is not there, in words of the editor; null of any other. Of a
   * model the list keeps the server's words, which name the folders; on a node is room for less.
   */
  private missing({ node, input }: Problem, isOnNode: boolean): Problem | null {
    const spec = node === null ? undefined : specAt(this.app.tab.root, node);
    const found = spec && missingFiles(this.app, spec).find((one) => one.input === input);
    return found && (isOnNode || !isModel(found)) ? { node, input, ...toldMissing(found) } : null;
  }

  /** A problem as the node in view shows it that has it, or in which it is; null where that is not in view. */
  private inView(problem: Problem): Problem | null {
    const { tab } = this.app;
    const prefix = tab.path.map((id) => `${id}/`).join("");
    if (problem.node === null || !problem.node.startsWith(prefix)) return null;
    const [node, ...inner] = problem.node.slice(prefix.length).split("/");
    if (!inner.length) return { ...((!problem.key && this.missing(problem, true)) || problem), node: node! };
    const definition = own(tab.root.subgraphs, definitionAt(tab.root, [...tab.path, node!]) ?? "");
    const port = definition && problem.input !== null && inner.length === 1 ? promoted(definition, inner[0]!, problem.input) : null;
    return { ...problem, node: node!, input: port, inside: inner.join(" › ") };
  }

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
