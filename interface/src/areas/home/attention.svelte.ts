import { get } from '../../live/api';
import { stream } from '../../live/stream.svelte';

interface Away {
  id: string;
  name: string;
  site: string;
  contract: string;
  since: string | null;
  last_seen: string | null;
}

export interface Wants {
  alerts: { count: number; items: { id: string; device: string; severity: string; text: string; opened: string }[] };
  away: { count: number; items: Away[] };
  never_seen: { count: number; items: Away[] };
  commands: { items: { id: string; device: string; name: string; state: string; reason: string; created: string; ended: string | null }[] };
  unclaimed: number | null;
  rollouts: { id: string; release: string; state: 'halted' | 'paused'; reason: string; since: string }[] | null;
  storage: { limit_bytes: number; taken_bytes: number; full_at: string | null; short: boolean } | null;
  switches: string[] | null;
  backup: { every_h: number; last_at: string | null; error: string } | null;
}

const REST_MS = 1500;
const EVERY_MS = 60_000;

/** What needs somebody, asked for again when something happened that may have changed it. */
export class Attention {
  wants: Wants | null = $state.raw(null);
  state: 'loading' | 'ready' | 'failed' = $state('loading');
  private timer: ReturnType<typeof setTimeout> | undefined;

  /** Follows until the returned function is called. */
  follow(): () => void {
    void this.load();
    const reading = stream.read((batch) => {
      const touched = batch.some(
        (event) =>
          event.kind === 'alert' || event.kind === 'presence' || event.kind === 'unclaimed' || event.kind === 'device' || event.kind === 'rollout' ||
          (event.kind === 'command' && ['failed', 'timed_out', 'expired'].includes(event.state)),
      );
      if (touched) this.soon();
    });
    const stale = stream.whenStale(() => void this.load());
    const every = setInterval(() => {
      if (!document.hidden) void this.load();
    }, EVERY_MS);
    return () => {
      reading();
      stale();
      clearInterval(every);
      clearTimeout(this.timer);
    };
  }

  private soon(): void {
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      void this.load();
    }, REST_MS);
  }

  async load(): Promise<void> {
    try {
      this.wants = await get<Wants>('/attention');
      this.state = 'ready';
    } catch {
      if (!this.wants) this.state = 'failed';
    }
  }
}
