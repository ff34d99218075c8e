// How far a view moves so that what was added lies wholly in it.
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
