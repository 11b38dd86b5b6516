// From readings to what a screen can show: the lowest and the highest of every pixel column, and a break
// wherever the device was silent. Drawing every point of a day would cost more and look the same.

export interface Outline {
  /** Seconds, as the chart wants them. */
  x: number[];
  /** The line, or the upper edge of a band. */
  y: (number | null)[];
  /** The lower edge of a band, beside `y`; empty for a line. */
  lower: (number | null)[];
  count: number;
  low: number;
  high: number;
  mean: number;
  last: number;
  lastAt: number;
}

export interface Drawable {
  /** Milliseconds, ascending. */
  xs: readonly number[];
  ys: readonly number[];
  /** Silences that the server told, ascending; null when nobody was asked. */
  gaps: readonly (readonly [number, number])[] | null;
  /** Up to where the server told them; later silences are guessed from what is usual. */
  told: number;
}

const SHORTEST_GAP_MS = 10_000;
const GAP_STEPS = 5;
const SAMPLED_STEPS = 500;

function gapLength(xs: readonly number[], start: number): number {
  const steps: number[] = [];
  const stride = Math.max(1, Math.floor((xs.length - start) / SAMPLED_STEPS));
  for (let i = start + 1; i < xs.length; i += stride) steps.push(xs[i]! - xs[i - 1]!);
  if (!steps.length) return SHORTEST_GAP_MS;
  steps.sort((a, b) => a - b);
  return Math.max(SHORTEST_GAP_MS, GAP_STEPS * steps[steps.length >> 1]!);
}

/** Index of the first of ascending `xs` that is not before `at`. */
export function firstFrom(xs: readonly number[], at: number): number {
  let low = 0;
  let high = xs.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (xs[middle]! < at) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** What `columns` pixels show of `from` to `to`, moved by `shift`; as a band where points are extremes of longer times. */
export function outline(held: Drawable, from: number, to: number, columns: number, shift = 0, band = false): Outline {
  const { xs, ys, gaps, told } = held;
  const inside = firstFrom(xs, from);
  // The point before the edge lets the line enter the picture instead of starting in the air.
  const start = Math.max(0, inside - 1);
  const gap = gaps === null || xs.at(-1)! > told ? gapLength(xs, gaps === null ? start : Math.max(start, firstFrom(xs, told) - 20)) : Infinity;
  const width = Math.max(1, (to - from) / Math.max(1, columns));
  const result: Outline = { x: [], y: [], lower: [], count: 0, low: Infinity, high: -Infinity, mean: 0, last: NaN, lastAt: 0 };
  let sum = 0;
  let column = -1;
  let lowAt = -1;
  let highAt = -1;
  let gapAt = 0;

  const put = (i: number) => {
    result.x.push((xs[i]! + shift) / 1000);
    result.y.push(ys[i]!);
  };
  const flush = () => {
    if (lowAt < 0) return;
    if (band) {
      result.x.push(((xs[lowAt]! + xs[highAt]!) / 2 + shift) / 1000);
      result.y.push(ys[highAt]!);
      result.lower.push(ys[lowAt]!);
    } else {
      put(Math.min(lowAt, highAt));
      if (lowAt !== highAt) put(Math.max(lowAt, highAt));
    }
    lowAt = highAt = -1;
  };
  const silentBefore = (i: number): boolean => {
    const x = xs[i]!;
    const before = xs[i - 1]!;
    if (gaps === null || before >= told) return x - before > gap;
    while (gapAt < gaps.length && gaps[gapAt]![1] <= before) gapAt += 1;
    return gapAt < gaps.length && gaps[gapAt]![0] < x;
  };

  for (let i = start; i < xs.length; i += 1) {
    const x = xs[i]!;
    const y = ys[i]!;
    if (x > to) break;
    const silent = i > start && silentBefore(i);
    const next = Math.floor((x - from) / width);
    if (silent || next !== column) {
      flush();
      column = next;
    }
    if (silent) {
      result.x.push(((xs[i - 1]! + x) / 2 + shift) / 1000);
      result.y.push(null);
      if (band) result.lower.push(null);
    }
    if (lowAt < 0 || y < ys[lowAt]!) lowAt = i;
    if (highAt < 0 || y > ys[highAt]!) highAt = i;
    if (i >= inside) {
      result.count += 1;
      sum += y;
      if (y < result.low) result.low = y;
      if (y > result.high) result.high = y;
      result.last = y;
      result.lastAt = x;
    }
  }
  flush();
  result.mean = result.count ? sum / result.count : NaN;
  return result;
}
