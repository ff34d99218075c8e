// Two fingers on the canvas zoom it and move it, wherever they are put down.
//
// A finger on a node belongs to the node's drag, which keeps its end from the zoom of the canvas: that one would
// never learn that it is over. So from the second finger on, the gesture is this module's until the last is lifted.
import { pinched, type Point, type View } from "../panels/zoom";

export interface Pinching {
  view: () => View;
  /** Take the next view, unless its scale is out of bounds. */
  change: (next: View) => void;
}

export function pinches({ view, change }: Pinching): (root: HTMLElement) => () => void {
  return (root) => {
    let before: [Point, Point] | null = null;
    let busy = false;

    const places = ({ touches }: TouchEvent): [Point, Point] | null => {
      if (touches.length < 2) return null;
      const { left, top } = root.getBoundingClientRect();
      const [one, other] = [touches[0]!, touches[1]!].map(({ clientX, clientY }) => ({ x: clientX - left, y: clientY - top }));
      return [one!, other!];
    };
    const swallow = (event: TouchEvent) => {
      if (event.cancelable) event.preventDefault();
      event.stopPropagation();
    };
    const start = (event: TouchEvent) => {
      before = places(event);
      busy ||= before !== null;
      if (busy) swallow(event);
    };
    const move = (event: TouchEvent) => {
      if (!busy) return;
      swallow(event);
      const after = places(event);
      if (before && after) change(pinched(view(), before, after));
      before = after;
    };
    // The end is heard by all: what the first finger began before there was a second one ends with it.
    const end = (event: TouchEvent) => {
      if (busy && event.cancelable) event.preventDefault();
      before = places(event);
      busy &&= event.touches.length > 0;
    };

    const listeners = new AbortController();
    const options = { capture: true, passive: false, signal: listeners.signal };
    root.addEventListener("touchstart", start, options);
    root.addEventListener("touchmove", move, options);
    root.addEventListener("touchend", end, options);
    root.addEventListener("touchcancel", end, options);
    return () => listeners.abort();
  };
}
