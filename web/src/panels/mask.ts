// A mask as it is painted: one byte a pixel, 255 is repainted, 0 is kept. Strokes, areas, and the way back.

/** A rectangle of pixels; empty where width or height is 0. */
export interface Area {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** Where a brush is, and its radius in pixels there. */
export interface Dab {
  x: number;
  y: number;
  radius: number;
}

export interface Brush {
  /** Share of the radius, from the edge inwards, over which it fades; 0 is hard. */
  softness: number;
  erases: boolean;
}

interface Change {
  area: Area;
  before: Uint8Array<ArrayBuffer>;
  after: Uint8Array<ArrayBuffer>;
}

/** Bytes of changes that are kept for undo. */
const KEPT = 128 * 2 ** 20;

/** How much a brush covers at a distance from its middle, in [0, 1]; the edge is smoothed over one pixel at least. */
export function coverage(distance: number, radius: number, softness: number): number {
  const outer = radius + 0.5;
  const inner = Math.min(radius * (1 - softness), radius - 0.5);
  if (distance >= outer) return 0;
  if (distance <= inner) return 1;
  const part = (outer - distance) / (outer - inner);
  return part * part * (3 - 2 * part);
}

/** Whether one size is the other's in large or small, up to rounding: within 2 %, or a pixel. */
export const sameShape = (width: number, height: number, across: number, down: number): boolean =>
  Math.abs(width * down - height * across) <= Math.max(0.02 * height * across, width, height, across, down);

export class Mask {
  readonly data: Uint8Array<ArrayBuffer>;
  private readonly past: Change[] = [];
  private future: Change[] = [];
  private stroke: { before: Uint8Array<ArrayBuffer>; area: Area } | null = null;

  constructor(readonly width: number, readonly height: number, data?: Uint8Array<ArrayBuffer>) {
    if (data && data.length !== width * height) throw new RangeError("a mask has one byte for each pixel");
    this.data = data ?? new Uint8Array(width * height);
  }

  get whole(): Area {
    return { x: 0, y: 0, width: this.width, height: this.height };
  }
  get canUndo(): boolean {
    return this.past.length > 0;
  }
  get canRedo(): boolean {
    return this.future.length > 0;
  }
  get isEmpty(): boolean {
    return this.data.every((value) => value === 0);
  }

  /** The share of the pixels that are rather repainted than kept. */
  get share(): number {
    return this.data.reduce((sum, value) => sum + Number(value >= 128), 0) / this.data.length;
  }

  /** Begin a stroke; what follows until `end` is one step of undo. */
  begin(): void {
    this.stroke = { before: this.data.slice(), area: { x: 0, y: 0, width: 0, height: 0 } };
  }

  /**
   * Paint from one place to the next, the brush as wide between them as its radii say. Painting over the same place
   * again changes nothing, so that a soft edge stays soft. Returns what changed.
   */
  paint(from: Dab, to: Dab, brush: Brush): Area {
    const reach = Math.max(from.radius, to.radius) + 1;
    const area = this.clip(
      Math.min(from.x, to.x) - reach, Math.min(from.y, to.y) - reach,
      Math.max(from.x, to.x) + reach, Math.max(from.y, to.y) + reach,
    );
    const [dx, dy] = [to.x - from.x, to.y - from.y];
    const length = dx * dx + dy * dy;
    for (let y = area.y; y < area.y + area.height; y += 1) {
      for (let x = area.x; x < area.x + area.width; x += 1) {
        const [px, py] = [x + 0.5 - from.x, y + 0.5 - from.y];
        const along = length === 0 ? 0 : Math.max(0, Math.min(1, (px * dx + py * dy) / length));
        const distance = Math.hypot(px - along * dx, py - along * dy);
        const covered = coverage(distance, from.radius + (to.radius - from.radius) * along, brush.softness);
        if (covered === 0) continue;
        const at = y * this.width + x;
        const value = Math.round(255 * covered);
        this.data[at] = brush.erases ? Math.min(this.data[at]!, 255 - value) : Math.max(this.data[at]!, value);
      }
    }
    if (this.stroke) this.stroke.area = union(this.stroke.area, area);
    return area;
  }

  /** End a stroke. */
  end(): void {
    if (!this.stroke) return;
    const { before, area } = this.stroke;
    this.stroke = null;
    this.keep(before, area);
  }

  /** Repaint everything, or nothing. */
  fill(value: 0 | 255): void {
    this.change(() => this.data.fill(value));
  }

  invert(): void {
    this.change(() => {
      for (let at = 0; at < this.data.length; at += 1) this.data[at] = 255 - this.data[at]!;
    });
  }

  /** Fill what a closed line surrounds: everything joined to a pixel that is on the same side of one half. */
  flood(x: number, y: number, value: 0 | 255): void {
    const [column, row] = [Math.floor(x), Math.floor(y)];
    if (column < 0 || row < 0 || column >= this.width || row >= this.height) return;
    const full = value === 255;
    const open = (at: number) => (full ? this.data[at]! < 128 : this.data[at]! >= 128);
    if (!open(row * this.width + column)) return;
    this.change(() => {
      const waiting = [row * this.width + column];
      const inside = new Uint8Array(this.data.length);
      inside[waiting[0]!] = 1;
      const enter = (at: number) => {
        if (!inside[at] && open(at)) {
          inside[at] = 1;
          waiting.push(at);
        }
      };
      for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
        const across = at % this.width;
        if (across > 0) enter(at - 1);
        if (across < this.width - 1) enter(at + 1);
        if (at >= this.width) enter(at - this.width);
        if (at < this.data.length - this.width) enter(at + this.width);
      }
      for (let at = 0; at < inside.length; at += 1) {
        if (inside[at]) this.data[at] = value;
        // The soft rim of the line around it would stay as a seam.
        else if (full && this.touches(inside, at)) this.data[at] = 255;
      }
    });
  }

  private touches(inside: Uint8Array, at: number): boolean {
    const across = at % this.width;
    return (
      (across > 0 && inside[at - 1] === 1) || (across < this.width - 1 && inside[at + 1] === 1) ||
      inside[at - this.width] === 1 || inside[at + this.width] === 1
    );
  }

  undo(): Area | null {
    const change = this.past.pop();
    if (!change) return null;
    this.future.push(change);
    this.put(change.area, change.before);
    return change.area;
  }

  redo(): Area | null {
    const change = this.future.pop();
    if (!change) return null;
    this.past.push(change);
    this.put(change.area, change.after);
    return change.area;
  }

  private change(make: () => void): void {
    const before = this.data.slice();
    make();
    this.keep(before, this.whole);
  }

  /** Keep a change for undo, unless nothing is other than it was. */
  private keep(before: Uint8Array<ArrayBuffer>, area: Area): void {
    const change = { area, before: cut(before, this.width, area), after: cut(this.data, this.width, area) };
    if (change.before.every((value, at) => value === change.after[at])) return;
    this.past.push(change);
    this.future = [];
    let size = 0;
    for (let index = this.past.length - 1; index >= 0; index -= 1) {
      size += 2 * this.past[index]!.before.length;
      if (size > KEPT && index < this.past.length - 1) {
        this.past.splice(0, index + 1);
        break;
      }
    }
  }

  private put(area: Area, pixels: Uint8Array): void {
    for (let row = 0; row < area.height; row += 1) {
      const from = row * area.width;
      this.data.set(pixels.subarray(from, from + area.width), (area.y + row) * this.width + area.x);
    }
  }

  private clip(left: number, top: number, right: number, bottom: number): Area {
    const x = Math.max(0, Math.floor(left));
    const y = Math.max(0, Math.floor(top));
    return {
      x, y, width: Math.max(0, Math.min(this.width, Math.ceil(right)) - x),
      height: Math.max(0, Math.min(this.height, Math.ceil(bottom)) - y),
    };
  }

  /** The pixels of an area as RGBA: a colour, as opaque as the mask says times `opacity`. */
  tinted(area: Area, [red, green, blue]: readonly [number, number, number], opacity: number): Uint8ClampedArray<ArrayBuffer> {
    const pixels = new Uint8ClampedArray(area.width * area.height * 4);
    let to = 0;
    for (let y = area.y; y < area.y + area.height; y += 1) {
      for (let x = area.x; x < area.x + area.width; x += 1) {
        pixels[to] = red;
        pixels[to + 1] = green;
        pixels[to + 2] = blue;
        pixels[to + 3] = this.data[y * this.width + x]! * opacity;
        to += 4;
      }
    }
    return pixels;
  }

  /** The mask as an opaque grey picture: white is repainted. */
  grey(): Uint8ClampedArray<ArrayBuffer> {
    const pixels = new Uint8ClampedArray(this.data.length * 4).fill(255);
    this.data.forEach((value, at) => pixels.fill(value, at * 4, at * 4 + 3));
    return pixels;
  }

  /** Read a picture's RGBA as a mask, by its luminance (Rec. 709, as the node that reads masks). */
  static read(width: number, height: number, pixels: Uint8ClampedArray): Mask {
    const data = new Uint8Array(width * height);
    for (let at = 0; at < data.length; at += 1) {
      const from = at * 4;
      const light = 0.2126 * pixels[from]! + 0.7152 * pixels[from + 1]! + 0.0722 * pixels[from + 2]!;
      data[at] = Math.round((light * pixels[from + 3]!) / 255);
    }
    return new Mask(width, height, data);
  }
}

function cut(data: Uint8Array, width: number, area: Area): Uint8Array<ArrayBuffer> {
  const pixels = new Uint8Array(area.width * area.height);
  for (let row = 0; row < area.height; row += 1) {
    const from = (area.y + row) * width + area.x;
    pixels.set(data.subarray(from, from + area.width), row * area.width);
  }
  return pixels;
}

function union(a: Area, b: Area): Area {
  if (a.width === 0 || a.height === 0) return b;
  if (b.width === 0 || b.height === 0) return a;
  const x = Math.min(a.x, b.x);
  const y = Math.min(a.y, b.y);
  return {
    x, y, width: Math.max(a.x + a.width, b.x + b.width) - x, height: Math.max(a.y + a.height, b.y + b.height) - y,
  };
}
