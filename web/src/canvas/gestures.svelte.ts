// How links are drawn, moved and dropped with a pointer.
import type { Connection } from "@xyflow/svelte";
import { flushSync } from "svelte";
import { own } from "../model/document";
import { unlink, type Point } from "../model/edit";
import type { App } from "../state/app.svelte";
import { edgeId, portName } from "../state/edges";
import type { End } from "../state/linking.svelte";
import { openSearch } from "../state/pickers";
import { reason } from "../state/say";
import type { Tab } from "../state/tab.svelte";
import type { FlowEdge } from "./flow";

interface Handle {
  nodeId: string | null;
  handleId: string | null;
  handleType: string | null;
}

const ends = (one: Connection | FlowEdge) => ({
  from: { node: one.source, output: portName(one.sourceHandle ?? "") },
  to: { node: one.target, input: portName(one.targetHandle ?? "") },
});

/** The port at a place of the screen, whatever else is drawn there. */
const portAt = ({ x, y }: Point): HTMLElement | undefined =>
  (document.elementsFromPoint(x, y) as HTMLElement[]).find((one) => one.classList.contains("port"));

/** Whether a port lies at a place of the screen, whatever else is drawn there. */
export const hasPort = (at: Point): boolean => portAt(at) !== undefined;

const endOf = (node: string, handle: string | null, kind: string | null): End => ({
  side: kind === "source" ? "output" : "input", node, name: portName(handle ?? ""),
});

export class LinkGestures {
  /** Why the port under the pointer does not take the link that is drawn; null where it does. */
  why = $state.raw<string | null>(null);
  /** The link under the pointer, or one whose end is taken from its port. */
  near = $state<string | null>(null);
  private lifted: FlowEdge | null = null;
  private taken = false;
  /** The port that a finger is put on, where a link lies over it and gets the touch. */
  private under: HTMLElement | null = null;

  constructor(private readonly app: App, private readonly tab: () => Tab, private readonly pane: () => HTMLElement) {}

  start = (_: unknown, { nodeId, handleId, handleType }: Handle): void => {
    if (nodeId) this.app.linking.begin(endOf(nodeId, handleId, handleType), this.app.wires);
  };

  valid = (one: Connection | FlowEdge): boolean => {
    const { from, to } = ends(one);
    const misfit = this.app.wires.misfit(from, to);
    this.why = misfit && reason(misfit);
    return misfit === null;
  };

  connect = (connection: Connection): false => {
    const { from, to } = ends(connection);
    this.app.connect(from, to);
    return false;
  };

  lift(edge: FlowEdge): void {
    this.lifted = edge;
  }

  reconnect = (next: FlowEdge, old: FlowEdge): false => {
    this.app.relink(ends(old), ends(next));
    return false;
  };

  /** An input has one link: who presses its port takes the end of that link, as if it had been pressed itself. */
  takeEnd = (event: PointerEvent): void => {
    this.letPortsHaveFingers(event);
    const pressed = this.under ?? (event.target as Element).closest<HTMLElement>(".port");
    const port = pressed?.matches(".target.linked:not(.many)") ? pressed : null;
    const { nodeid: node, handleid } = port?.dataset ?? {};
    if (!node || !handleid || event.button !== 0 || this.app.linking.from) return;
    const input = portName(handleid);
    const link = own(this.tab().workflow.nodes, node)?.links[input];
    if (!link || Array.isArray(link)) return;
    this.near = edgeId(link, { node, input });
    flushSync();
    const all = this.pane().querySelectorAll<HTMLElement>(".svelte-flow__edgeupdater-target");
    const there = [...all].find((one) => one.dataset["link"] === this.near);
    if (!there) return;
    this.taken = true;
    there.dispatchEvent(new PointerEvent("pointerdown", event));
  };

  /** Links of chosen nodes are drawn above the nodes. Where one runs over a port, the port has the pointer all the same. */
  letPortsWin = ({ target, buttons, clientX, clientY }: PointerEvent): void => {
    if (buttons) return;
    const over = target as Element;
    const isPort = over.closest(".svelte-flow__edge") ? hasPort({ x: clientX, y: clientY }) : over.closest(".port") !== null;
    this.pane().toggleAttribute("data-over-port", isPort);
  };

  /** No pointer moves before a finger is put down: the touch that a link gets is handed on, and what follows a tap finds the port. */
  private letPortsHaveFingers({ target, pointerType, clientX: x, clientY: y }: PointerEvent): void {
    if (pointerType !== "touch") return;
    this.under = ((target as Element).closest(".svelte-flow__edge") && portAt({ x, y })) || null;
    this.pane().toggleAttribute("data-over-port", this.under !== null);
  }

  keepTaken = (event: Event): void => {
    const under = event.isTrusted && event.type === "touchstart" ? this.under : null;
    if (this.taken || under) event.stopPropagation();
    if (under && !this.taken) {
      const { touches, targetTouches, changedTouches } = event as TouchEvent;
      const lists = { touches: [...touches], targetTouches: [...targetTouches], changedTouches: [...changedTouches] };
      under.dispatchEvent(new TouchEvent("touchstart", { bubbles: true, cancelable: true, ...lists }));
    }
    this.taken = false;
    this.under = null;
  };

  end = (event: MouseEvent | TouchEvent, state: { isValid: boolean | null; toHandle?: unknown }): void => {
    const { from } = this.app.linking;
    const moved = this.lifted;
    this.app.linking.end();
    this.why = this.near = this.lifted = null;
    if (!from || state.isValid || state.toHandle) return;
    const point = "changedTouches" in event ? event.changedTouches[0] : event;
    if (!point || !(document.elementFromPoint(point.clientX, point.clientY) ?? (event.target as Element)).closest(".svelte-flow__pane")) return;
    if (moved) {
      const { from: output, to } = ends(moved);
      this.tab().edit(unlink(this.tab().workflow, output, to), "edit.unlink");
    } else openSearch(this.app, { x: point.clientX, y: point.clientY }, from);
  };
}
