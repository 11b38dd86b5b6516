// When a schedule runs, as the server has it, and in words.
import { dateTime, number } from '../../live/format.svelte';
import { toMs, type Value } from '../../live/shapes';
import { DAYS, daysText, lasting, type Action, type Day } from '../automation/documents';
import { language } from '../../words/words.svelte';
import type { AutomationWords } from '../automation/words';
import type { SchedulesWords } from './words';
import type { Window } from './week';

export const KINDS = ['week', 'times', 'sun', 'every', 'once', 'countdown', 'cron'] as const;
export type Kind = (typeof KINDS)[number];
export const EVENTS = ['dawn', 'sunrise', 'noon', 'sunset', 'dusk'] as const;
export type SunEvent = (typeof EVENTS)[number];
export type Timing = Record<string, Value>;

export interface ScheduleInfo {
  id: string;
  name: string;
  owner: string;
  enabled: boolean;
  timing: Timing;
  action: Action;
  end_action: Action;
  zone: string;
  lat: number | null;
  lon: number | null;
  missed: 'skip' | 'run_once';
  late_limit_s: number;
  jitter_s: number;
  starts_at: string | null;
  ends_at: string | null;
  next: string | null;
  note: string;
  last_run: { planned: string; at: string | null; asked: number; note: string } | null;
}

export interface Coming {
  items: { at: string; local: string; steps: { edge: 'run' | 'start' | 'end'; action: Action }[] }[];
  zone: string;
  note: string;
}

export const windowsIn = (timing: Timing): Window[] => (Array.isArray(timing.windows) ? (timing.windows as unknown as Window[]) : []);

/** Windows without an end are times of day. */
export function kindOf(timing: Timing): Kind {
  if (timing.kind !== 'weekly') return timing.kind as Kind;
  const windows = windowsIn(timing);
  return windows.length && windows.every((one) => !one.to) ? 'times' : 'week';
}

export function fresh(kind: Kind): Timing {
  switch (kind) {
    case 'week':
      return { kind: 'weekly', windows: [] };
    case 'times':
      return { kind: 'weekly', windows: [{ days: [...DAYS], from: '08:00' }] };
    case 'sun':
      return { kind: 'sun', event: 'sunset', offset_min: 0, days: [...DAYS] };
    case 'every':
      return { kind: 'every', seconds: 900 };
    case 'once':
      return { kind: 'once', at: '' };
    case 'countdown':
      return { kind: 'countdown', in: 900 };
    case 'cron':
      return { kind: 'cron', expression: '30 6 * * MON-FRI' };
  }
}

/** An instant as a field for local time wants it. */
export function localOf(instant: string | null, zone: string): string {
  if (!instant) return '';
  if (!instant.endsWith('Z')) return instant;
  try {
    return new Intl.DateTimeFormat('sv-SE', { timeZone: zone, dateStyle: 'short', timeStyle: 'short' }).format(toMs(instant)).replace(' ', 'T');
  } catch {
    return instant.slice(0, 16);
  }
}

/** When something is, by the clocks of its place. */
export function there(at: number, zone: string): string {
  const how: Intl.DateTimeFormatOptions = { weekday: 'short', day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' };
  try {
    return new Intl.DateTimeFormat(language.locale, { ...how, timeZone: zone }).format(at);
  } catch {
    // The server knows a zone that this browser does not.
    return new Intl.DateTimeFormat(language.locale, how).format(at);
  }
}

const SHOWN = 2;

/** When, as a part of a sentence. */
export function timingText(words: SchedulesWords, shared: AutomationWords, timing: Timing): string {
  const say = words.said;
  switch (timing.kind) {
    case 'weekly': {
      const windows = windowsIn(timing);
      const parts = windows.map((one) => (one.to ? say.window(daysText(shared, one.days), one.from, one.to) : say.point(daysText(shared, one.days), one.from)));
      const text = parts.slice(0, SHOWN).join('; ');
      return parts.length > SHOWN ? say.more(text, number(parts.length - SHOWN)) : text;
    }
    case 'cron':
      return say.cron(String(timing.expression));
    case 'every':
      return say.every(lasting(timing.seconds));
    case 'once':
      return say.once(timing.at ? dateTime(toMs(timing.at as string)) : '');
    case 'countdown':
      return say.countdown(lasting(timing.in));
    case 'sun': {
      const event = words.events[timing.event as SunEvent];
      const days = daysText(shared, (timing.days as Day[] | undefined) ?? DAYS);
      const offset = Number(timing.offset_min ?? 0);
      if (!offset) return say.sun(event, days);
      return (offset < 0 ? say.before : say.after)(event, lasting(Math.abs(offset) * 60), days);
    }
    default:
      return '';
  }
}
