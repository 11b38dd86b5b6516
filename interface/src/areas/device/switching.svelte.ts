// Which of a device's keys are relays and switches, and what is known and wished of them.
import { get } from '../../live/api';
import type { LiveEvent, Value } from '../../live/shapes';
import { Wishes, type Wish } from '../../live/wishes.svelte';

interface Capability {
  kind: string;
  key: string;
  value: Value;
}

export const truth = (value: unknown): boolean | null => (typeof value === 'boolean' ? value : typeof value === 'number' ? value !== 0 : null);

export class Switching {
  keys: string[] = $state.raw([]);
  state: 'loading' | 'ready' | 'failed' = $state('loading');
  private values: Record<string, Value> = $state.raw({});
  private readonly held: Wishes;

  constructor(readonly device: string) {
    this.held = new Wishes(device);
  }

  async load(): Promise<void> {
    try {
      const [found] = await Promise.all([get<{ items: Capability[] }>(`/devices/${encodeURIComponent(this.device)}/capabilities`), this.held.load()]);
      const switches = found.items.filter((one) => one.kind === 'relay' || one.kind === 'switch');
      this.values = Object.fromEntries(switches.map(({ key, value }) => [key, value]));
      this.keys = switches.map((one) => one.key);
      this.state = 'ready';
      if (this.keys.some((key) => key.startsWith('relay_') && this.wish(key))) await this.held.recollect();
    } catch {
      if (this.state === 'loading') this.state = 'failed';
    }
  }

  /** What was asked of a switch last; nothing for what is no yes or no. */
  wish(key: string): Wish | undefined {
    const wish = this.held.wishes[key];
    return wish && truth(wish.value) !== null ? wish : undefined;
  }

  /** Whether it is on, as far as anybody knows. */
  is(key: string): boolean | null {
    const told = this.held.reported[key];
    if (told) return truth(told.value);
    // A capability shows what is to be while that is pending, which is not yet what is.
    const state = this.held.wishes[key]?.state;
    return state === 'pending' || state === 'asking' ? null : truth(this.values[key]);
  }

  turn(key: string, on: boolean): Promise<void> {
    return this.held.turn(key, on);
  }

  follow(batch: readonly LiveEvent[]): void {
    for (const event of batch) if ('device' in event && event.device === this.device) this.held.follow(event);
  }
}
