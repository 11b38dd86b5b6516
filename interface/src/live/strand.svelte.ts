import { get } from './api';
import { firstFrom } from './outline';
import type { Value } from './shapes';

const PAGE_POINTS = 10_000;
const MOST_POINTS = 100_000;
const FEWEST_ASKED = 200;
const MOST_ASKED = 4000;
/** A device's clock may be a little ahead. */
const CLOCK_SLACK_MS = 60_000;

interface Answer {
  points: [number, Value][];
  source?: 'raw' | 'hour' | 'day';
  gaps?: [number, number][];
  next: string | null;
}

/** What is drawn as one line: a key of a device. */
export interface Pick {
  device: string;
  /** What people call the device. */
  name: string;
  key: string;
  /** Its values are either on or off. */
  binary: boolean;
}

/** One key of one device over one span: what the server chose to draw it, then what comes in. Times ascend. */
export class Strand {
  xs: number[] = [];
  ys: number[] = [];
  gaps: [number, number][] | null = null;
  told = 0;
  /** Grows with every change; the arrays themselves are too large to be reactive. */
  revision: number = $state(0);
  state: 'loading' | 'ready' | 'failed' = $state('loading');
  /** What the points were chosen from. */
  source: 'raw' | 'hour' | 'day' = $state('raw');
  /** Every reading of the span is here, none was left out. */
  whole: boolean = $state(false);
  /** There were more readings than are drawn one by one. */
  truncated: boolean = $state(false);
  private abort = new AbortController();

  constructor(
    readonly pick: Pick,
    /** Milliseconds by which it is drawn later than it was. */
    readonly shift = 0,
  ) {}

  /** Asks for `from` to `to` anew, for so many pixels; with `every` for each reading, whatever it costs. */
  async load(from: number, to: number, pixels: number, every = false): Promise<void> {
    this.abort.abort();
    const abort = (this.abort = new AbortController());
    const path = `/devices/${encodeURIComponent(this.pick.device)}/telemetry/${encodeURIComponent(this.pick.key)}`;
    const span = { from: Math.floor(from - this.shift), to: Math.ceil(to - this.shift) + 1 };
    try {
      if (every) await this.loadEvery(path, span, abort.signal);
      else {
        const points = Math.min(MOST_ASKED, Math.max(FEWEST_ASKED, Math.round(pixels) * 2));
        const answer = await get<Answer>(path, { ...span, points }, abort.signal);
        this.take(answer.points, answer.gaps ?? [], span.to);
        this.source = answer.source ?? 'raw';
        this.whole = this.source === 'raw' && answer.points.length < points;
        this.truncated = false;
      }
      this.state = 'ready';
    } catch {
      if (!abort.signal.aborted) this.state = 'failed';
    }
  }

  close(): void {
    this.abort.abort();
  }

  append(ts: number, value: Value | undefined): void {
    const y = toNumber(value);
    if (y === null) return;
    const at = ts > (this.xs.at(-1) ?? -Infinity) ? this.xs.length : firstFrom(this.xs, ts);
    if (this.xs[at] === ts) this.ys[at] = y;
    else {
      this.xs.splice(at, 0, ts);
      this.ys.splice(at, 0, y);
    }
    this.revision += 1;
  }

  /** Lets go of what has left the window, in large steps because shifting an array is not free. */
  trim(before: number): void {
    const n = firstFrom(this.xs, before);
    if (n > 1000) {
      this.xs.splice(0, n - 1);
      this.ys.splice(0, n - 1);
    }
  }

  private async loadEvery(path: string, span: { from: number; to: number }, signal: AbortSignal): Promise<void> {
    const all: [number, Value][] = [];
    let cursor: string | undefined;
    do {
      const page = await get<Answer>(path, { ...span, limit: PAGE_POINTS, ...(cursor ? { cursor } : {}) }, signal);
      for (const point of page.points) all.push(point);
      cursor = page.next ?? undefined;
    } while (cursor && all.length < MOST_POINTS);
    this.take(all, null, span.to);
    this.source = 'raw';
    this.truncated = cursor !== undefined;
    this.whole = !this.truncated;
  }

  private take(points: [number, Value][], gaps: [number, number][] | null, to: number): void {
    const tail: [number, number][] = [];
    const newest = points.at(-1)?.[0] ?? -Infinity;
    // Live readings may already be here that the answer does not know yet.
    if (this.shift === 0) for (let i = firstFrom(this.xs, Math.max(newest, this.told) + 1); i < this.xs.length; i += 1) tail.push([this.xs[i]!, this.ys[i]!]);
    this.xs = [];
    this.ys = [];
    for (const [ts, value] of points) {
      const y = toNumber(value);
      if (y === null) continue;
      this.xs.push(ts);
      this.ys.push(y);
    }
    for (const [ts, y] of tail) {
      if (ts <= newest || ts > to + CLOCK_SLACK_MS) continue;
      this.xs.push(ts);
      this.ys.push(y);
    }
    this.gaps = gaps;
    this.told = newest;
    this.revision += 1;
  }
}

function toNumber(value: Value | undefined): number | null {
  if (typeof value === 'boolean') return Number(value);
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}
