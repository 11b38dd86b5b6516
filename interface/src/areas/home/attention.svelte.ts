import { get } from '../../live/api';
import { keepUp } from '../../live/keeping';
import type { LiveEvent } from '../../live/shapes';

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

const touches = (event: LiveEvent): boolean =>
  event.kind === 'alert' || event.kind === 'presence' || event.kind === 'unclaimed' || event.kind === 'device' || event.kind === 'rollout' ||
  (event.kind === 'command' && ['failed', 'timed_out', 'expired'].includes(event.state));

/** What needs somebody, asked for again when something happened that may have changed it. */
export class Attention {
  wants: Wants | null = $state.raw(null);
  state: 'loading' | 'ready' | 'failed' = $state('loading');

  /** Follows until the returned function is called. */
  follow(): () => void {
    void this.load();
    return keepUp(() => void this.load(), { told: touches, restMs: REST_MS, everyMs: EVERY_MS });
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
