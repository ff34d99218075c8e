// What the rest of the editor asks of the canvas that is in view.
import type { useSvelteFlow } from "@xyflow/svelte";
import { focusSoon } from "../lib/focus";
import { addPoint, pointsOf } from "../model/bends";
import type { App, Canvas } from "../state/app.svelte";
import { passed } from "./bent";
import type { FlowEdge, FlowNode } from "./flow";
import { linkOfEdge } from "../state/edges";
import { shiftInto } from "./reveal";

type Flow = ReturnType<typeof useSvelteFlow<FlowNode, FlowEdge>>;

const FRAMES = 60; // how long a node that was added may take to be drawn and measured

export function canvasHandle(app: App, flow: Flow, pane: HTMLElement): Canvas {
  const boxOf = (id: string) => {
    const node = flow.getInternalNode(id);
    const { width, height } = node?.measured ?? {};
    return node && width && height ? { ...flow.flowToScreenPosition(node.internals.positionAbsolute), width, height } : null;
  };

  const fit = (ids?: Iterable<string>) => {
    const only = ids && { nodes: [...ids].map((id) => ({ id })) };
    const duration = app.calm ? 0 : 200;
    void flow.fitView({ ...only, padding: 0.12, maxZoom: ids ? 1 : 1.1, minZoom: 0.05, duration });
  };

  function reveal(ids: readonly string[], whole: boolean, frames: number) {
    const boxes = ids.map(boxOf);
    if (boxes.includes(null)) {
      if (frames > 0) requestAnimationFrame(() => reveal(ids, whole, frames - 1));
      return;
    }
    if (whole) return fit(ids);
    const { x, y, zoom } = flow.getViewport();
    const shown = boxes.map((box) => ({ ...box!, width: box!.width * zoom, height: box!.height * zoom }));
    const shift = shiftInto(shown, pane.getBoundingClientRect());
    if (shift.x || shift.y) void flow.setViewport({ x: x + shift.x, y: y + shift.y, zoom }, { duration: app.calm ? 0 : 200 });
  }

  const middle = () => {
    const { left, top, width, height } = pane.getBoundingClientRect();
    return flow.screenToFlowPosition({ x: left + width / 2, y: top + height / 2 });
  };

  return {
    fit,
    zoom: (factor) => void flow.setZoom(flow.getZoom() * factor, { duration: app.calm ? 0 : 120 }),
    toCanvas: (point) => flow.screenToFlowPosition(point),
    toScreen: (point) => flow.flowToScreenPosition(point),
    middle,
    view: () => ({ ...middle(), zoom: flow.getZoom() }),
    look: ({ x, y, zoom }) => void flow.setCenter(x, y, { zoom, duration: app.calm ? 0 : 200 }),
    sizeOf: (id) => {
      const measured = flow.getInternalNode(id)?.measured;
      return { width: measured?.width ?? 232, height: measured?.height ?? 160 };
    },
    shows: (id) => {
      const box = boxOf(id);
      const zoom = flow.getZoom();
      const { left, top, right, bottom } = pane.getBoundingClientRect();
      return box !== null && box.x < right && box.y < bottom && box.x + box.width * zoom > left && box.y + box.height * zoom > top;
    },
    focus: (id) => focusSoon(() => pane.querySelector<HTMLElement>(`.svelte-flow__node[data-id="${CSS.escape(id)}"]`)),
    bend: (edge, at) => {
      const path = pane.querySelector<SVGPathElement>(`.svelte-flow__edge[data-id="${CSS.escape(edge)}"] .svelte-flow__edge-path`);
      if (!path) return;
      const { workflow } = app.tab;
      const ends = linkOfEdge(edge);
      const point = at ? flow.screenToFlowPosition(at) : path.getPointAtLength(path.getTotalLength() / 2);
      app.tab.edit(addPoint(workflow, ends, passed(path, pointsOf(workflow, ends), point), point), "edit.bend");
    },
    reveal: (ids, whole = false) => reveal([...ids], whole, FRAMES),
  };
}
