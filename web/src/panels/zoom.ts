// Looking at a picture: where it lies and how large, as pure functions.
export interface View {
  /** Screen pixels for each pixel of the picture. */
  scale: number;
  /** Where the picture's upper left corner is on the screen. */
  x: number;
  y: number;
}

export interface Extent {
  width: number;
  height: number;
}

const LEAST = 0.02;
const MOST = 64;

/** The whole picture in the middle; small ones enlarged by a whole number at most `enlarge` times. */
export function fitted(picture: Extent, screen: Extent, margin = 16, enlarge = 12): View {
  const room = Math.min((screen.width - 2 * margin) / picture.width, (screen.height - 2 * margin) / picture.height);
  const scale = clamp(room >= 1 ? Math.min(enlarge, room >= 3 ? Math.floor(room) : room) : room);
  return {
    scale, x: (screen.width - picture.width * scale) / 2, y: (screen.height - picture.height * scale) / 2,
  };
}

/** The view enlarged by a factor, the picture's point under (x, y) staying there. */
export function zoomed(view: View, factor: number, x: number, y: number): View {
  const scale = clamp(view.scale * factor);
  const real = scale / view.scale;
  return { scale, x: x - (x - view.x) * real, y: y - (y - view.y) * real };
}

export const moved = (view: View, dx: number, dy: number): View => ({ ...view, x: view.x + dx, y: view.y + dy });

/** The factor that a turn of the wheel stands for, whatever units it comes in. */
export function wheelFactor(event: { deltaY: number; deltaMode: number; ctrlKey: boolean }): number {
  const pixels = event.deltaY * (event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 400 : 1);
  return 2 ** (-Math.max(-200, Math.min(200, pixels)) * (event.ctrlKey ? 0.01 : 0.003));
}

/** The view after two fingers moved from one pair of places to another. */
export function pinched(view: View, before: [Point, Point], after: [Point, Point]): View {
  const [old, fresh] = [middle(before), middle(after)];
  const factor = distance(after) / Math.max(1, distance(before));
  return moved(zoomed(view, factor, old.x, old.y), fresh.x - old.x, fresh.y - old.y);
}

export interface Point {
  x: number;
  y: number;
}

const middle = ([a, b]: [Point, Point]): Point => ({ x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 });
const distance = ([a, b]: [Point, Point]): number => Math.hypot(a.x - b.x, a.y - b.y);
const clamp = (scale: number): number => Math.max(LEAST, Math.min(MOST, scale));
