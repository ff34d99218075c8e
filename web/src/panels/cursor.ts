// A place in a picture that is moved by keys.
import type { Extent, Point } from "./zoom";

const STEPS: { [key: string]: Point } = {
  ArrowLeft: { x: -1, y: 0 }, ArrowRight: { x: 1, y: 0 }, ArrowUp: { x: 0, y: -1 }, ArrowDown: { x: 0, y: 1 },
};
export const ARROWS: ReadonlySet<string> = new Set(Object.keys(STEPS));

/** A place moved by an arrow key, by so many pixels: the middle of a pixel of the picture. */
export function stepped(from: Point, key: string, by: number, { width, height }: Extent): Point {
  const { x, y } = STEPS[key]!;
  const inside = (place: number, size: number) => Math.max(0, Math.min(size - 1, Math.floor(place))) + 0.5;
  return { x: inside(from.x + x * Math.round(by), width), y: inside(from.y + y * Math.round(by), height) };
}
