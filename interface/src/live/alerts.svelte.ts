import { get } from './api';
import type { LiveEvent, Page, Values } from './shapes';
import { stream } from './stream.svelte';

export interface AlertInfo {
  id: string;
  device: string;
  state: 'open' | 'acknowledged' | 'resolved' | 'cleared';
  severity: 'info' | 'warning' | 'critical';
  text: string;
  rule: string;
  name: string;
  owner: string;
  opened: string;
  changed: string;
  ended: string | null;
  count: number;
  values: Values;
  by: string;
  note: string;
}
export interface AlertPage extends Page<AlertInfo> {
  open: number;
}

const REST_MS = 500;
// A change of these moves the number of those that nobody has acknowledged.
const MOVING = new Set(['opened', 'reopened', 'acknowledged', 'resolved', 'cleared']);

/** How many alerts nobody has acknowledged, for the navigation. */
class OpenAlerts {
  count = $state(0);
  private timer: ReturnType<typeof setTimeout> | undefined;
  private begun = false;

  /** Follows the stream; harmless when it does already. */
  start(): void {
    if (this.begun) return;
    this.begun = true;
    stream.read((batch: readonly LiveEvent[]) => {
      if (batch.some((event) => event.kind === 'alert' && MOVING.has(event.change))) this.soon();
    });
    stream.whenStale(() => this.soon());
  }

  async load(): Promise<void> {
    try {
      this.count = (await get<AlertPage>('/alerts', { limit: 1, state: 'open' })).open;
    } catch {
      // The last number stays; the stream's state in the header tells that it is old.
    }
  }

  clear(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.count = 0;
  }

  private soon(): void {
    // A hundred alerts at once are one question.
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      void this.load();
    }, REST_MS);
  }
}

export const openAlerts = new OpenAlerts();
