// What is desired of one device, key by key, told honestly: what it says that it is, what was asked, how far that got.
import { get, patch, put } from './api';
import { clock } from './clock.svelte';
import { toMs, type CommandEvent, type CommandOut, type DesiredOut, type LiveEvent, type Page, type ReportedOut, type Value } from './shapes';
import { problemOf } from './submission.svelte';

export interface Wish {
  value: Value;
  at: number;
  /** Who asked; empty while nobody said. */
  by: string;
  /** When it left for the device; 0 while nobody knows. */
  sent: number;
  state: 'asking' | 'pending' | 'agreed' | 'failed' | 'refused';
  /** Since when it is so. */
  since: number;
  /** What the server or the device said against it: a code of the server's, or for `refused` its words. */
  reason: string;
}

/** What was asked just now, of which nobody has heard yet. */
export function asked(value: Value): Wish {
  const at = clock.read();
  return { value, at, by: '', sent: 0, state: 'asking', since: at, reason: '' };
}

/** What the state of a command means for the wish that it carries. */
export const become = (state: string): Wish['state'] => (state === 'confirmed' ? 'agreed' : state === 'queued' || state === 'sent' ? 'pending' : 'failed');

/** The relay boards carry out what is desired of a relay by a command for its channel. */
const keyOf = (name: string | undefined, params: Record<string, unknown> | undefined): string =>
  name === 'relay' && params?.channel !== undefined ? `relay_${String(params.channel)}` : '';

export class Wishes {
  reported: Record<string, { value: Value; at: number }> = $state.raw({});
  wishes: Record<string, Wish> = $state.raw({});
  private carried = new Map<string, string>();
  private readonly path: string;

  constructor(readonly device: string) {
    this.path = `/devices/${encodeURIComponent(device)}`;
  }

  async load(): Promise<void> {
    const [desired, reported] = await Promise.all([get<DesiredOut>(`${this.path}/desired`), get<ReportedOut>(`${this.path}/reported`)]);
    this.reported = Object.fromEntries(Object.entries(reported.values).map(([key, value]) => [key, { value, at: toMs(reported.changed[key]?.at) }]));
    const wishes: Record<string, Wish> = {};
    for (const [key, { at, by, state, since }] of Object.entries(desired.changed)) {
      const held = this.wishes[key];
      wishes[key] = { value: desired.values[key] ?? null, at: toMs(at), by, sent: held?.sent ?? 0, state, since: toMs(since), reason: held?.reason ?? '' };
    }
    this.wishes = wishes;
  }

  /** When what was asked before this page was opened left. */
  async recollect(): Promise<void> {
    const page = await get<Page<CommandOut>>(`${this.path}/commands`, { limit: 50 });
    for (const command of page.items) {
      const key = keyOf(command.name, command.params);
      const held = this.wishes[key];
      if (!held || held.sent || toMs(command.created) < held.at) continue;
      this.learn(key, { ...held, sent: toMs(command.sent), reason: held.reason || command.reason });
    }
  }

  /** Asks for a relay or switch of any contract. What is shown changes when the device says so, not before. */
  turn(key: string, on: boolean): Promise<void> {
    return this.ask(key, on, async () => (await put<{ pending: boolean }>(`${this.path}/switches/${encodeURIComponent(key)}`, { on })).pending);
  }

  /** Desires `value` for the key. */
  desire(key: string, value: Value): Promise<void> {
    return this.ask(key, value, async () => {
      const answer = await patch<DesiredOut>(`${this.path}/desired`, { values: { [key]: value } });
      return answer.changed[key]?.state === 'pending';
    });
  }

  private async ask(key: string, value: Value, work: () => Promise<boolean>): Promise<void> {
    const mine = asked(value);
    this.learn(key, mine);
    try {
      const pending = await work();
      const held = this.wishes[key];
      // The stream may have told already what became of it.
      if (held?.state === 'asking') this.learn(key, { ...held, state: pending ? 'pending' : 'agreed', since: clock.read() });
    } catch (error) {
      this.learn(key, { ...mine, state: 'refused', since: clock.read(), reason: problemOf(error) });
    }
  }

  follow(event: LiveEvent): void {
    if (event.kind === 'command') this.carry(event);
    if (event.kind !== 'twin') return;
    const at = toMs(event.at);
    if (event.change === 'reported') this.report(event.values ?? event.reported ?? {}, at);
    if (event.change === 'desired') {
      for (const [key, value] of Object.entries(event.values ?? {})) {
        const held = this.wishes[key];
        this.learn(key, { value: value as Value, at, by: event.by ?? '', sent: held && held.sent >= at ? held.sent : 0, state: 'pending', since: at, reason: '' });
      }
    }
    if (event.change === 'agreed' || event.change === 'failed') {
      this.report(event.reported ?? {}, at);
      for (const key of event.keys ?? []) {
        const held = this.wishes[key];
        if (!held) continue;
        if (event.change === 'agreed') this.report({ [key]: held.value }, at);
        this.learn(key, { ...held, state: event.change, since: at, reason: event.reason ?? held.reason });
      }
    }
  }

  private report(values: Record<string, unknown>, at: number): void {
    const told = Object.entries(values).map(([key, value]) => [key, { value: value as Value, at }]);
    if (told.length) this.reported = { ...this.reported, ...Object.fromEntries(told) };
  }

  private learn(key: string, wish: Wish): void {
    this.wishes = { ...this.wishes, [key]: wish };
  }

  private carry(event: CommandEvent): void {
    const key = keyOf(event.name, event.params) || this.carried.get(event.command) || '';
    if (!key) return;
    this.carried.set(event.command, key);
    const held = this.wishes[key];
    if (!held) return;
    if (event.state === 'sent') this.learn(key, { ...held, sent: toMs(event.at) });
    else if (event.reason && ['failed', 'timed_out', 'expired'].includes(event.state)) this.learn(key, { ...held, reason: event.reason });
  }
}
