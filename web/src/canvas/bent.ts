// The way of a link through its points.
import type { Point } from "../model/document";

const LEAST = 40; // pixels that a part may go aside
const STEP = 6; // pixels between the places of a path that are compared

/** A path from an output to an input by way of points; smooth, or where it is asked for straight. */
export function pathThrough(from: Point, to: Point, points: readonly Point[], straight = false): string {
  const stops = [from, ...points, to];
  const begin = `M${from.x},${from.y}`;
  if (straight) return begin + stops.slice(1).map(({ x, y }) => `L${x},${y}`).join("");
  // Each stop is passed in the direction from the one before it to the one after it, the highest and the lowest level, so that
  // the path goes no higher and no lower; the ends, to the right.
  const ways = stops.map((stop, index) => {
    const [before, after] = [stops[index - 1], stops[index + 1]];
    if (!before || !after) return { x: 1, y: 0 };
    const turns = (stop.y - before.y) * (after.y - stop.y) <= 0;
    return turns && before.x !== after.x ? { x: Math.sign(after.x - before.x), y: 0 } : unit(before, after);
  });
  return begin + stops.slice(1).map((end, index) => {
    const start = stops[index]!;
    const [across, far] = [Math.abs(end.x - start.x), Math.hypot(end.x - start.x, end.y - start.y)];
    const reach = Math.min(far / 3, Math.max(across / 2, LEAST)); // a steep part goes no farther aside
    const [out, into] = [ways[index]!, ways[index + 1]!];
    const first = `${round(start.x + out.x * reach)},${round(start.y + out.y * reach)}`;
    const second = `${round(end.x - into.x * reach)},${round(end.y - into.y * reach)}`;
    return `C${first} ${second} ${end.x},${end.y}`;
  }).join("");
}

const round = (value: number): number => Math.round(value * 100) / 100;

function unit(from: Point, to: Point): Point {
  const length = Math.hypot(to.x - from.x, to.y - from.y) || 1;
  return { x: (to.x - from.x) / length, y: (to.y - from.y) / length };
}

/** How many of a link's points its path has passed where it comes nearest to a place. */
export function passed(path: SVGPathElement, points: readonly Point[], at: Point): number {
  const places: Point[] = [];
  const length = path.getTotalLength();
  for (let far = 0; far <= length; far += STEP) places.push(path.getPointAtLength(far));
  const nearest = (point: Point) => places.reduce((best, place, index) => (
    away(place, point) < away(places[best]!, point) ? index : best
  ), 0);
  const here = nearest(at);
  return points.filter((point) => nearest(point) < here).length;
}

const away = (one: Point, other: Point): number => Math.hypot(one.x - other.x, one.y - other.y);
