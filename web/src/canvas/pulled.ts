// A press that is drawn away from where it began.
const SLACK = 4; // pixels that a press may move and still be a click

/**
 * Follow a press: `move` is called from where it is no click any more, `end` once, with whether it was let go in its
 * place. The canvas does not move along. A second finger ends it, and is free to zoom.
 */
export function pulled(press: PointerEvent, move: (to: PointerEvent) => void, end: (dropped: boolean) => void): void {
  const listeners = new AbortController();
  let away = false;
  const listen = <Kind extends keyof WindowEventMap>(kind: Kind, hear: (event: WindowEventMap[Kind]) => void) =>
    window.addEventListener(kind, hear, { capture: true, passive: true, signal: listeners.signal });
  const stop = (dropped: boolean) => {
    listeners.abort();
    end(dropped && away);
  };
  listen("pointermove", (event) => {
    if (event.pointerId !== press.pointerId) return;
    away ||= Math.hypot(event.clientX - press.clientX, event.clientY - press.clientY) >= SLACK;
    if (away) move(event);
  });
  listen("pointerup", (event) => event.pointerId === press.pointerId && stop(true));
  listen("pointercancel", (event) => event.pointerId === press.pointerId && stop(false));
  listen("mousedown", (event) => event.stopPropagation());
  listen("touchstart", (event) => (event.touches.length > 1 ? stop(false) : event.stopPropagation()));
}
