// What part of time a chart shows: the last hour, a week of last year, or what somebody zoomed to; and the way back.
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Ranges that end now, by their names; `all` begins with the first reading there is. */
export const RANGES = {
  '5m': 5 * MINUTE,
  '1h': HOUR,
  '6h': 6 * HOUR,
  '24h': DAY,
  '7d': 7 * DAY,
  '30d': 30 * DAY,
  '1y': 365 * DAY,
} as const;
export type RangeName = keyof typeof RANGES;

const SHORTEST_MS = SECOND;
const LONGEST_MS = 60 * 365 * DAY;
const MOST_STEPS = 50;
/** Turns of a wheel that follow each other are one step on the way back. */
const ONE_GESTURE_MS = 800;

export interface View {
  span: number;
  /** The right edge; null while it is now. */
  end: number | null;
  name: RangeName | 'all' | 'own';
}

export class ChartWindow {
  view: View = $state.raw({ span: RANGES['5m'], end: null, name: '5m' });
  private trail: View[] = $state.raw([]);
  private home: View;
  private moved = 0;

  constructor(name: RangeName = '5m') {
    this.home = this.view = { span: RANGES[name], end: null, name };
  }

  get canGoBack(): boolean {
    return this.trail.length > 0;
  }

  get live(): boolean {
    return this.view.end === null;
  }

  /** Both edges in milliseconds, at the time `now`. */
  edges(now: number): [number, number] {
    const to = this.view.end ?? now;
    return [to - this.view.span, to];
  }

  choose(name: RangeName): void {
    this.begin({ span: RANGES[name], end: null, name });
  }

  /** Everything since `first`. */
  all(first: number, now: number): void {
    this.begin({ span: Math.max(SHORTEST_MS, (now - first) * 1.02), end: null, name: 'all' });
  }

  own(from: number, to: number, now: number): void {
    this.begin(this.made(from, to, now));
  }

  /** To exactly this, with a way back; `gesture` for what comes many times in a row. */
  zoom(from: number, to: number, now: number, gesture = false): void {
    const at = performance.now();
    if (!gesture || at - this.moved > ONE_GESTURE_MS) this.trail = [...this.trail, this.view].slice(-MOST_STEPS);
    this.moved = gesture ? at : 0;
    this.view = this.made(from, to, now);
  }

  /** Shows `factor` times as much; the moment at `share` of the width stays where it is. */
  scale(factor: number, now: number, share = 0.5, gesture = false): void {
    const [from, to] = this.edges(now);
    const span = Math.min(LONGEST_MS, Math.max(SHORTEST_MS, (to - from) * factor));
    const still = from + (to - from) * share;
    this.zoom(still - span * share, still + span * (1 - share), now, gesture);
  }

  /** Moves by a share of the width, to later for positive ones. */
  pan(share: number, now: number, gesture = false): void {
    const [from, to] = this.edges(now);
    const step = (to - from) * share;
    this.zoom(from + step, to + step, now, gesture);
  }

  back(): void {
    const before = this.trail.at(-1);
    if (!before) return;
    this.trail = this.trail.slice(0, -1);
    this.view = before;
  }

  reset(): void {
    this.trail = [];
    this.view = this.home;
  }

  private begin(view: View): void {
    this.trail = [];
    this.home = this.view = view;
  }

  private made(from: number, to: number, now: number): View {
    const span = Math.min(LONGEST_MS, Math.max(SHORTEST_MS, to - from));
    // There is nothing to see in the future; whoever gets to now stays with it.
    return { span, end: to >= now - span / 1000 ? null : Math.max(to, span), name: 'own' };
  }
}
