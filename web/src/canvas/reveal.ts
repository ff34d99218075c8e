// Where a view goes: to what was added, and in a workflow that is seen for the first time.
export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

const MARGIN = 16; // pixels between a box and the border of the view

/** The least shift that brings boxes into a view; what is larger than the view is brought in by its upper left corner. */
export function shiftInto(boxes: readonly Box[], view: Box): { x: number; y: number } {
  const along = (axis: "x" | "y", size: "width" | "height"): number => {
    const low = boxes.reduce((least, box) => Math.min(least, box[axis]), Infinity);
    const high = boxes.reduce((most, box) => Math.max(most, box[axis] + box[size]), -Infinity);
    const [first, last] = [view[axis] + MARGIN, view[axis] + view[size] - MARGIN];
    if (!boxes.length) return 0;
    if (low < first || high - low > last - first) return first - low;
    return Math.min(0, last - high);
  };
  return { x: along("x", "width"), y: along("y", "height") };
}

const READABLE = 0.6; // the least zoom at which what is written on a node can be read
const LARGEST = 1.1;
const ROOM = 1.1; // of the view to what it shows, each way

/**
 * The first view of a graph: all of it where it can be read so; else as much as can be, from its left end on, about as high
 * as what begins there.
 */
export function opening(boxes: readonly Box[], view: Pick<Box, "width" | "height">): { x: number; y: number; zoom: number } {
  const ends = (axis: "x" | "y", size: "width" | "height") => ({
    low: boxes.reduce((least, box) => Math.min(least, box[axis]), Infinity),
    high: boxes.reduce((most, box) => Math.max(most, box[axis] + box[size]), -Infinity),
  });
  const [across, down] = [ends("x", "width"), ends("y", "height")];
  const whole = Math.min(view.width / (across.high - across.low), view.height / (down.high - down.low)) / ROOM;
  const zoom = Math.min(LARGEST, Math.max(READABLE, whole));
  const first = boxes.reduce((found, box) => (box.x < found.x ? box : found));
  const along = ({ low, high }: { low: number; high: number }, size: number, wanted: number): number => {
    const shown = (size - 2 * MARGIN) / zoom;
    const start = high - low <= shown ? (low + high - shown) / 2 : Math.max(low, Math.min(high - shown, wanted - shown / 2));
    return MARGIN - start * zoom;
  };
  return { x: along(across, view.width, across.low), y: along(down, view.height, first.y + first.height / 2), zoom };
}
