// Relays and switches of a device, told honestly: what it says that it is, what was asked of it, and how far that got.
import { get, put } from '../../live/api';
import { clock } from '../../live/clock.svelte';
import { toMs, type CommandEvent, type LiveEvent, type Page, type Value } from '../../live/shapes';
import { problemOf } from '../../live/submission.svelte';
import type { CommandOut, DesiredOut, ReportedOut } from './shapes';

interface Capability {
  kind: string;
  key: string;
  value: Value;
}

interface Answer {
  on: boolean;
  reported: boolean | null;
  pending: boolean;
}

/** What was asked of one key last. */
export interface Wish {
  on: boolean;
  at: number;
  by: string;
  /** When it left for the device; 0 while nobody knows. */
  sent: number;
  state: 'asking' | 'pending' | 'agreed' | 'failed' | 'refused';
  /** Since when it is so. */
  since: number;
  /** What the server or the device said against it. */
  reason: string;
}

/** Commands by which a contract carries out what is desired of a key: the relay boards have one for each channel. */
function keyOf(name: string | undefined, params: Record<string, unknown> | undefined): string {
  return name === 'relay' && params?.channel !== undefined ? `relay_${String(params.channel)}` : '';
}

const truth = (value: unknown): boolean | null => (typeof value === 'boolean' ? value : typeof value === 'number' ? value !== 0 : null);

export class Switching {
  keys: string[] = $state.raw([]);
  reported: Record<string, boolean | null> = $state.raw({});
  wishes: Record<string, Wish> = $state.raw({});
  state: 'loading' | 'ready' | 'failed' = $state('loading');
  /** Command -> the key it is about, for events that no longer say. */
  private carried = new Map<string, string>();
  private readonly path: string;

  constructor(readonly device: string) {
    this.path = `/devices/${encodeURIComponent(device)}`;
  }

  async load(): Promise<void> {
    try {
      const [found, desired, reported] = await Promise.all([
        get<{ items: Capability[] }>(`${this.path}/capabilities`),
        get<DesiredOut>(`${this.path}/desired`),
        get<ReportedOut>(`${this.path}/reported`),
      ]);
      const switches = found.items.filter((one) => one.kind === 'relay' || one.kind === 'switch');
      const is: Record<string, boolean | null> = {};
      const wishes: Record<string, Wish> = {};
      for (const { key, value } of switches) {
        const change = desired.changed[key];
        const on = truth(desired.values[key]);
        // A capability shows what is to be while that is pending, which is not yet what is.
        is[key] = truth(key in reported.values ? reported.values[key] : change?.state === 'pending' ? null : value);
        if (change && on !== null) wishes[key] = { on, at: toMs(change.at), by: change.by, sent: 0, state: change.state, since: toMs(change.since), reason: '' };
      }
      this.keys = switches.map((one) => one.key);
      this.reported = is;
      this.wishes = wishes;
      this.state = 'ready';
      if (this.keys.some((key) => key.startsWith('relay_') && wishes[key])) await this.recollect();
    } catch {
      if (this.state === 'loading') this.state = 'failed';
    }
  }

  /** Asks for a key to be so. What the switch shows changes when the device says so, not before. */
  async turn(key: string, on: boolean): Promise<void> {
    const at = clock.read();
    this.learn(key, { on, at, by: '', sent: 0, state: 'asking', since: at, reason: '' });
    try {
      const answer = await put<Answer>(`${this.path}/switches/${encodeURIComponent(key)}`, { on });
      this.reported = { ...this.reported, [key]: answer.reported };
      const held = this.wishes[key];
      // The stream may have told already what became of it.
      if (held?.state === 'asking') this.learn(key, { ...held, state: answer.pending ? 'pending' : 'agreed', since: clock.read() });
    } catch (error) {
      this.learn(key, { on, at, by: '', sent: 0, state: 'refused', since: clock.read(), reason: problemOf(error) });
    }
  }

  follow(batch: readonly LiveEvent[]): void {
    for (const event of batch) {
      if (!('device' in event) || event.device !== this.device) continue;
      if (event.kind === 'command') this.carry(event);
      if (event.kind !== 'twin') continue;
      const at = toMs(event.at);
      if (event.change === 'reported') this.report(event.values ?? event.reported ?? {});
      if (event.change === 'desired') {
        for (const [key, value] of Object.entries(event.values ?? {})) {
          const on = truth(value);
          if (!this.keys.includes(key) || on === null) continue;
          const held = this.wishes[key];
          this.learn(key, { on, at, by: event.by ?? '', sent: held && held.sent >= at ? held.sent : 0, state: 'pending', since: at, reason: '' });
        }
      }
      if (event.change === 'agreed' || event.change === 'failed') {
        this.report(event.reported ?? {});
        for (const key of event.keys ?? []) {
          const held = this.wishes[key];
          if (!held) continue;
          if (event.change === 'agreed') this.reported = { ...this.reported, [key]: held.on };
          this.learn(key, { ...held, state: event.change, since: at, reason: event.reason ?? held.reason });
        }
      }
    }
  }

  private report(values: Record<string, unknown>): void {
    const told = Object.entries(values).filter(([key, value]) => this.keys.includes(key) && truth(value) !== null);
    if (told.length) this.reported = { ...this.reported, ...Object.fromEntries(told.map(([key, value]) => [key, truth(value)])) };
  }

  private learn(key: string, wish: Wish): void {
    this.wishes = { ...this.wishes, [key]: wish };
  }

  private carry(event: CommandEvent): void {
    const key = keyOf(event.name, event.params) || this.carried.get(event.command) || '';
    const held = this.wishes[key];
    if (!key) return;
    this.carried.set(event.command, key);
    if (!held) return;
    if (event.state === 'sent') this.learn(key, { ...held, sent: toMs(event.at) });
    else if (event.reason && ['failed', 'timed_out', 'expired'].includes(event.state)) this.learn(key, { ...held, reason: event.reason });
  }

  /** When what was asked before this page was opened left. */
  private async recollect(): Promise<void> {
    const page = await get<Page<CommandOut>>(`${this.path}/commands`, { limit: 50 });
    for (const command of page.items) {
      const key = keyOf(command.name, command.params);
      const held = this.wishes[key];
      if (!held || held.sent || toMs(command.created) < held.at) continue;
      this.learn(key, { ...held, sent: toMs(command.sent), reason: held.reason || command.reason });
    }
  }
}
