// A finger that is held still asks for what a right click asks for, on every browser alike.

const HELD = 500; // milliseconds
const SLACK = 10; // pixels that a finger may tremble

/** Whether a press selects text there, or opens the browser's own menu for it. */
const isText = (target: Element): boolean => target.closest("input, textarea, select, a, [contenteditable]") !== null;

/**
 * Send `contextmenu` to what a finger is held on. The rest of that touch moves and presses nothing. The browser's own
 * long press, which some have and some have not, is not heard.
 */
export function holds(root: HTMLElement): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let start: { id: number; x: number; y: number } | null = null;
  let opened = false;

  const stop = () => {
    clearTimeout(timer);
    start = null;
  };
  const down = (event: PointerEvent) => {
    const target = event.target as Element;
    if (event.pointerType !== "touch" || !event.isTrusted) return;
    stop();
    opened = false;
    if (!event.isPrimary || isText(target)) return;
    const { pointerId: id, clientX: x, clientY: y } = event;
    start = { id, x, y };
    timer = setTimeout(() => {
      start = null;
      const asked = new MouseEvent("contextmenu", { bubbles: true, cancelable: true, composed: true, clientX: x, clientY: y, button: 2 });
      // Over a port it is not the link that got the touch which is meant. What nobody answers stays a press.
      opened = target.isConnected && !(document.elementFromPoint(x, y) ?? target).dispatchEvent(asked);
    }, HELD);
  };
  const move = (event: PointerEvent) => {
    if (start && event.pointerId === start.id && Math.hypot(event.clientX - start.x, event.clientY - start.y) > SLACK) stop();
  };
  const touch = (event: TouchEvent) => {
    if (!opened) return;
    if (event.cancelable) event.preventDefault();
    if (event.type === "touchmove") event.stopPropagation();
  };
  const menu = (event: Event) => {
    if (!event.isTrusted || (event as PointerEvent).pointerType !== "touch" || isText(event.target as Element)) return;
    event.preventDefault();
    event.stopPropagation();
  };

  const listeners = new AbortController();
  const options = { capture: true, passive: false, signal: listeners.signal };
  root.addEventListener("pointerdown", down, options);
  root.addEventListener("pointermove", move, options);
  root.addEventListener("pointerup", stop, options);
  root.addEventListener("pointercancel", stop, options);
  root.addEventListener("touchmove", touch, options);
  root.addEventListener("touchend", touch, options);
  root.addEventListener("contextmenu", menu, options);
  return () => {
    stop();
    listeners.abort();
  };
}
