import { get } from './api';
import type { PointPage, Value } from './shapes';

const PAGE_POINTS = 10_000;
const MOST_POINTS = 100_000;

/** One key of one device over one range: what was kept, then what comes in. Times ascend. */
export class Series {
  xs: number[] = [];
  ys: number[] = [];
  /** Grows with every change; the arrays themselves are too large to be reactive. */
  revision: number = $state(0);
  state: 'loading' | 'ready' | 'failed' = $state('loading');
  truncated: boolean = $state(false);
  private readonly abort = new AbortController();

  constructor(
    readonly device: string,
    readonly key: string,
    readonly rangeMs: number,
  ) {}

  async load(now: number): Promise<void> {
    const path = `/devices/${encodeURIComponent(this.device)}/telemetry/${encodeURIComponent(this.key)}`;
    let cursor: string | undefined;
    let fetched = 0;
    try {
      do {
        const query = { from: now - this.rangeMs, limit: PAGE_POINTS, ...(cursor ? { cursor } : {}) };
        const page: PointPage = await get<PointPage>(path, query, this.abort.signal);
        this.merge(page.points);
        fetched += page.points.length;
        cursor = page.next ?? undefined;
      } while (cursor && fetched < MOST_POINTS);
      this.truncated = cursor !== undefined;
      this.state = 'ready';
    } catch {
      if (!this.abort.signal.aborted) this.state = 'failed';
    }
  }

  close(): void {
    this.abort.abort();
  }

  append(ts: number, value: Value | undefined): void {
    const y = toNumber(value);
    if (y === null) return;
    this.insert(ts, y);
    this.revision += 1;
  }

  /** Lets go of what has left the window, in large steps because shifting an array is not free. */
  trim(before: number): void {
    let n = 0;
    while (n < this.xs.length && this.xs[n]! < before) n += 1;
    if (n > 1000) {
      this.xs.splice(0, n - 1);
      this.ys.splice(0, n - 1);
    }
  }

  private merge(points: [number, Value][]): void {
    // Live readings may already be here while older pages still arrive.
    const tailX = this.xs;
    const tailY = this.ys;
    const first = points[0]?.[0];
    if (first === undefined) return;
    if (tailX.length && first <= tailX[tailX.length - 1]!) {
      for (const [ts, value] of points) {
        const y = toNumber(value);
        if (y !== null) this.insert(ts, y);
      }
    } else {
      for (const [ts, value] of points) {
        const y = toNumber(value);
        if (y === null) continue;
        tailX.push(ts);
        tailY.push(y);
      }
    }
    this.revision += 1;
  }

  private insert(ts: number, y: number): void {
    let low = 0;
    let high = this.xs.length;
    if (high && ts > this.xs[high - 1]!) low = high;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.xs[middle]! < ts) low = middle + 1;
      else high = middle;
    }
    if (this.xs[low] === ts) {
      this.ys[low] = y;
      return;
    }
    this.xs.splice(low, 0, ts);
    this.ys.splice(low, 0, y);
  }
}

function toNumber(value: Value | undefined): number | null {
  if (typeof value === 'boolean') return Number(value);
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}
