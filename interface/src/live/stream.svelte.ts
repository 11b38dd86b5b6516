// One connection for the whole page. Events are collected and handed on once per frame: a thousand events a
// second then cost as many renders as one. Browsers stop animation frames in hidden tabs, so there a slow timer
// takes over, otherwise the queue would grow for as long as nobody looks.
import { get } from './api';
import { Pace } from './pace';
import type { LiveEvent } from './shapes';

// A table, so that the compiler misses the one that is forgotten.
const KINDS: Record<LiveEvent['kind'], true> = {
  telemetry: true,
  presence: true,
  connection: true,
  command: true,
  twin: true,
  rule: true,
  alert: true,
  notification: true,
  update: true,
  rollout: true,
  device: true,
  refused: true,
  unclaimed: true,
  notice: true,
  gap: true,
};
const HIDDEN_INTERVAL_MS = 500;
const LONG_SILENCE_MS = 20_000;
const FIRST_RETRY_MS = 1000;
const LAST_RETRY_MS = 30_000;

export type StreamStatus = 'off' | 'connecting' | 'live' | 'lost';
type Reader = (batch: readonly LiveEvent[]) => void;

class Stream {
  status: StreamStatus = $state('off');

  private source: EventSource | null = null;
  private queue: LiveEvent[] = [];
  private readers = new Set<Reader>();
  private refetchers = new Set<() => void>();
  private scheduled = false;
  private pace = new Pace();
  private lostSince = 0;
  /** Number of the last event that is known here, by whichever way it came. */
  private since: number | undefined;
  private retry = 0;
  private retryTimer: ReturnType<typeof setTimeout> | undefined;

  read(reader: Reader): () => void {
    this.readers.add(reader);
    return () => this.readers.delete(reader);
  }

  /** Called when events were missed and lists have to be fetched anew. */
  whenStale(refetch: () => void): () => void {
    this.refetchers.add(refetch);
    return () => this.refetchers.delete(refetch);
  }

  /** `since` is the event that the lists were fetched after: nothing between them and the stream gets lost. */
  open(since?: number): void {
    if (this.source) return;
    this.status = this.status === 'lost' ? 'lost' : 'connecting';
    this.since = since ?? this.since;
    // A browser that lost the connection before it heard anything has no Last-Event-ID, but asks here again.
    const source = new EventSource(this.since === undefined ? '/api/v1/stream' : `/api/v1/stream?since=${this.since}`);
    this.source = source;
    for (const kind of Object.keys(KINDS)) source.addEventListener(kind, this.take as EventListener);
    source.onopen = () => {
      this.status = 'live';
      this.retry = 0;
      if (this.lostSince && Date.now() - this.lostSince > LONG_SILENCE_MS) this.stale();
      this.lostSince = 0;
    };
    source.onerror = () => {
      this.lostSince ||= Date.now();
      this.status = 'lost';
      // The browser retries by itself after a broken connection, but never after an answer such as 401 or 502.
      if (source.readyState === EventSource.CLOSED) this.openLater();
    };
  }

  close(): void {
    this.retry = 0;
    clearTimeout(this.retryTimer);
    this.source?.close();
    this.source = null;
    this.queue = [];
    this.lostSince = 0;
    this.since = undefined;
    this.status = 'off';
  }

  private openLater(): void {
    this.source = null;
    // An EventSource hides the status code; an ordinary request tells the session about a 401.
    get('/system').catch(() => {});
    const wait = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** this.retry++) * (0.75 + Math.random() / 2);
    this.retryTimer = setTimeout(() => {
      // Such an answer may have come from another server than the one before, or from none: lists are fetched anew.
      this.lostSince = 1;
      this.open();
    }, wait);
  }

  private stale(): void {
    for (const refetch of this.refetchers) refetch();
  }

  private take = (message: MessageEvent<string>): void => {
    const event = JSON.parse(message.data) as LiveEvent;
    // The event line is the one place every event has its kind.
    event.kind = message.type as LiveEvent['kind'];
    if (event.seq) this.since = event.seq;
    this.queue.push(event);
    if (!this.scheduled) this.schedule();
  };

  private schedule(): void {
    this.scheduled = true;
    if (document.hidden) {
      setTimeout(this.flush, HIDDEN_INTERVAL_MS);
      return;
    }
    const rest = this.pace.rest();
    if (rest > 0) setTimeout(() => this.nextFrame(), rest);
    else this.nextFrame();
  }

  private nextFrame(): void {
    // A frame asked for just before the tab was hidden never comes; the timer is its substitute.
    let done = false;
    const once = () => {
      if (done) return;
      done = true;
      clearTimeout(timer);
      this.flush();
    };
    const timer = setTimeout(once, HIDDEN_INTERVAL_MS);
    requestAnimationFrame(once);
  }

  private flush = (): void => {
    this.scheduled = false;
    const batch = this.queue;
    this.queue = [];
    this.pace.flushed(batch.length);
    if (!batch.length) return;
    for (const reader of this.readers) reader(batch);
    if (batch.some((event) => event.kind === 'gap')) this.stale();
  };
}

export const stream = new Stream();
