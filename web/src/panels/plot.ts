// Plots of numbers: round ticks and paths, without a library.

/** Round numbers that cover a range: steps of 1, 2 or 5 times a power of ten, about `count` of them. */
export function ticks(low: number, high: number, count = 4): number[] {
  if (!(high > low)) return [low];
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough * 0.999)!;
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, index) => tidy((first + index) * step));
}

/** Without the dust of binary fractions. */
export const tidy = (value: number): number => Number(value.toPrecision(12));

/** A number in few characters. */
export function short(value: number): string {
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 1e5 || size < 1e-3 ? value.toExponential(1) : String(Number(value.toPrecision(4)));
}

export interface Frame {
  width: number;
  height: number;
  left: number;
  bottom: number;
  right: number;
  top: number;
}

export interface Scales {
  x: (index: number) => number;
  y: (value: number) => number;
  low: number;
  high: number;
  /** Whether the axis of values is logarithmic. */
  logarithmic: boolean;
}

/** Where the values of a series lie in a frame. A logarithmic axis is taken where they span more than two decades. */
export function scales(series: readonly number[], frame: Frame): Scales {
  const finite = series.filter(Number.isFinite);
  let low = Math.min(...finite);
  let high = Math.max(...finite);
  if (!finite.length) [low, high] = [0, 1];
  const logarithmic = low > 0 && high / low > 100;
  if (high === low) [low, high] = [low - 0.5, high + 0.5];
  const at = logarithmic ? Math.log10 : (value: number) => value;
  const [bottom, top] = [at(low), at(high)];
  return {
    low, high, logarithmic,
    x: (index) => frame.left + ((frame.width - frame.left - frame.right) * index) / Math.max(1, series.length - 1),
    y: (value) => frame.height - frame.bottom - ((frame.height - frame.top - frame.bottom) * (at(value) - bottom)) / (top - bottom),
  };
}

/** The path of a series; numbers that are none leave a gap. */
export function path(series: readonly number[], { x, y }: Scales): string {
  let begun = false;
  return series.map((value, index) => {
    if (!Number.isFinite(value)) {
      begun = false;
      return "";
    }
    const command = begun ? "L" : "M";
    begun = true;
    return `${command}${x(index).toFixed(1)} ${y(value).toFixed(1)}`;
  }).join("");
}

/** The numbers that a note of progress tells, by name: `loss 0.0123 lr 1e-4` or `loss: 0.01, rate = 2`. */
export function numbersIn(note: string): { [name: string]: number } {
  const found = note.matchAll(/([\p{L}_][\p{L}\p{N}_]*)\s*[:=]?\s+?(-?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)(?![\p{L}\p{N}.])/giu);
  return Object.fromEntries([...found].map(([, name, value]) => [name!, Number(value)]));
}
