// What a wall's link tells its widgets: the document, then what happens to the devices and keys on it. It needs nobody to
// be signed in, comes back by itself after an interruption, and tells apart a server that is away and a link that is over.
import { ApiError, address, get } from '../../live/api';
import { Pace } from '../../live/pace';
import { toMs, type Latest, type Value, type Values } from '../../live/shapes';
import type { AlertBrief, Widget } from './shapes';
import type { Answer, Hearer, Question, Seen, Source } from './source';

interface WallDevice {
  id: string;
  name: string;
  online: boolean;
  last_seen: string | null;
  values: Record<string, { value: Value; ts: number | null }>;
}
export interface WallDocument {
  name: string;
  version: number;
  widgets: Widget[];
  devices: WallDevice[];
  alerts: AlertBrief[];
  expires_at: string | null;
}
type Told =
  | { kind: 'telemetry'; device: string; ts: number; values: Values }
  | { kind: 'state'; device: string; at: number; values: Values }
  | { kind: 'presence'; device: string; online: boolean; at: number }
  | { kind: 'alert' | 'dashboard' | 'gap' };

const KINDS = ['telemetry', 'state', 'presence', 'alert', 'dashboard', 'gap'] as const;
const FIRST_RETRY_MS = 1000;
const LAST_RETRY_MS = 30_000;
const REST_MS = 300;
/** Countdowns move on, and whatever an interruption hid comes to light. */
const AGAIN_MS = 60_000;
const HIDDEN_INTERVAL_MS = 500;

class WallSeen implements Seen {
  title = $state('');
  online = $state(false);
  lastSeen = $state(0);
  latest: Record<string, Latest> = $state.raw({});

  constructor(readonly id: string) {}

  learn(told: WallDevice): void {
    this.title = told.name || told.id;
    this.online = told.online;
    this.lastSeen = toMs(told.last_seen);
    this.latest = Object.fromEntries(Object.entries(told.values).map(([key, { value, ts }]) => [key, { value, ts: ts ?? 0, ts_source: 'server' }]));
  }

  receive(values: Values, ts: number): void {
    const latest = { ...this.latest };
    for (const [key, value] of Object.entries(values)) if (ts >= (latest[key]?.ts ?? 0)) latest[key] = { value, ts, ts_source: 'server' };
    this.latest = latest;
  }
}

export class WallSource implements Source {
  state: 'loading' | 'live' | 'lost' | 'over' = $state('loading');
  document: WallDocument | null = $state.raw(null);
  alerts: readonly AlertBrief[] = $derived(this.document?.alerts ?? []);
  private seen: Record<string, WallSeen> = $state.raw({});
  private hearers = new Set<Hearer>();
  private queue: Told[] = [];
  private scheduled = false;
  private pace = new Pace();
  private source: EventSource | null = null;
  private retry = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private loadTimer: ReturnType<typeof setTimeout> | undefined;
  private ended = false;
  private readonly path: string;

  constructor(token: string) {
    this.path = `/walls/${encodeURIComponent(token)}`;
  }

  start(): () => void {
    void this.begin();
    const again = setInterval(() => {
      if (this.state === 'live') this.loadSoon();
    }, AGAIN_MS);
    return () => {
      this.ended = true;
      clearInterval(again);
      clearTimeout(this.timer);
      clearTimeout(this.loadTimer);
      this.source?.close();
    };
  }

  device(id: string): Seen | null | undefined {
    return this.document ? (this.seen[id] ?? null) : undefined;
  }

  tagged(): readonly Seen[] {
    // A wall's tables come with their devices.
    return [];
  }

  points(device: string, key: string, question: Question, signal: AbortSignal): Promise<Answer> {
    return get<Answer>(`${this.path}/telemetry/${encodeURIComponent(device)}/${encodeURIComponent(key)}`, { ...question }, signal);
  }

  picture(id: string): string {
    return address(`${this.path}/pictures/${encodeURIComponent(id)}`);
  }

  wishes(): undefined {
    return undefined;
  }

  mayAct(): boolean {
    return false;
  }

  hear(hearer: Hearer): () => void {
    this.hearers.add(hearer);
    return () => this.hearers.delete(hearer);
  }

  private async begin(): Promise<void> {
    // First the stream, then the document: what happens between them is told again, and never missed.
    this.source?.close();
    const source = (this.source = new EventSource(address(`${this.path}/stream`)));
    for (const kind of KINDS) source.addEventListener(kind, this.take as EventListener);
    source.onopen = () => {
      this.retry = 0;
      void this.load();
    };
    source.onerror = () => {
      if (this.ended) return;
      if (this.state === 'live') this.state = 'lost';
      // An EventSource hides why: the document tells whether the link is over or the server away.
      source.close();
      void this.load().then(() => this.beginLater());
    };
  }

  private beginLater(): void {
    if (this.ended || this.state === 'over') return;
    if (this.state === 'live') this.state = 'lost';
    const wait = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** this.retry++) * (0.75 + Math.random() / 2);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.begin(), wait);
  }

  private async load(): Promise<void> {
    try {
      const document = await get<WallDocument>(this.path);
      const seen: Record<string, WallSeen> = {};
      for (const told of document.devices) {
        const one = this.seen[told.id] ?? new WallSeen(told.id);
        one.learn(told);
        seen[told.id] = one;
      }
      this.seen = seen;
      this.document = document;
      this.state = 'live';
    } catch (error) {
      const over = error instanceof ApiError && (error.status === 404 || error.status === 401);
      this.state = over ? 'over' : this.document ? 'lost' : this.state;
      if (over) {
        this.document = null;
        this.source?.close();
      }
    }
  }

  private loadSoon(): void {
    this.loadTimer ??= setTimeout(() => {
      this.loadTimer = undefined;
      void this.load();
    }, REST_MS);
  }

  private take = (message: MessageEvent<string>): void => {
    this.queue.push({ ...(JSON.parse(message.data) as Told), kind: message.type } as Told);
    if (this.scheduled) return;
    this.scheduled = true;
    const rest = this.pace.rest();
    // A frame that a hidden page asked for never comes; the timer is its substitute.
    setTimeout(this.flush, HIDDEN_INTERVAL_MS);
    if (rest > 0) setTimeout(this.flush, rest);
    else requestAnimationFrame(this.flush);
  };

  private flush = (): void => {
    if (!this.scheduled) return;
    this.scheduled = false;
    const batch = this.queue;
    this.queue = [];
    this.pace.flushed(batch.length);
    for (const event of batch) {
      if (event.kind === 'telemetry' || event.kind === 'state') {
        const at = event.kind === 'telemetry' ? event.ts : toMs(event.at);
        const one = this.seen[event.device];
        one?.receive(event.values, at);
        if (event.kind !== 'telemetry') continue;
        if (one) {
          one.lastSeen = Math.max(one.lastSeen, at);
          one.online = true;
        }
        for (const hearer of this.hearers) hearer(event.device, event.ts, event.values);
      } else if (event.kind === 'presence') {
        const one = this.seen[event.device];
        if (one) one.online = event.online;
      } else this.loadSoon();
    }
  };
}
