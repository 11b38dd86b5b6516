// From readings to what a screen can show: the lowest and the highest of every pixel column, and a break
// wherever the device was silent. Drawing every point of a day would cost more and look the same.

export interface Outline {
  x: number[];
  y: (number | null)[];
  count: number;
  low: number;
  high: number;
  mean: number;
  last: number;
  lastAt: number;
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

function firstInside(xs: readonly number[], from: number): number {
  let low = 0;
  let high = xs.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (xs[middle]! < from) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** `xs` in milliseconds ascending; the outline's x in seconds, as the chart wants them. */
export function outline(xs: readonly number[], ys: readonly number[], from: number, to: number, columns: number): Outline {
  const inside = firstInside(xs, from);
  // The point before the edge lets the line enter the picture instead of starting in the air.
  const start = Math.max(0, inside - 1);
  const gap = gapLength(xs, start);
  const width = Math.max(1, (to - from) / Math.max(1, columns));
  const result: Outline = { x: [], y: [], count: 0, low: Infinity, high: -Infinity, mean: 0, last: NaN, lastAt: 0 };
  let sum = 0;
  let column = -1;
  let lowAt = -1;
  let highAt = -1;

  const put = (i: number) => {
    result.x.push(xs[i]! / 1000);
    result.y.push(ys[i]!);
  };
  const flush = () => {
    if (lowAt < 0) return;
    put(Math.min(lowAt, highAt));
    if (lowAt !== highAt) put(Math.max(lowAt, highAt));
    lowAt = highAt = -1;
  };

  for (let i = start; i < xs.length; i += 1) {
    const x = xs[i]!;
    const y = ys[i]!;
    if (x > to) break;
    const silent = i > start && x - xs[i - 1]! > gap;
    const next = Math.floor((x - from) / width);
    if (silent || next !== column) {
      flush();
      column = next;
    }
    if (silent) {
      result.x.push((xs[i - 1]! + x) / 2000);
      result.y.push(null);
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
