// What rules and schedules say about devices and about what is done, as the server has it.
import { duration, number } from '../../live/format.svelte';
import type { Value } from '../../live/shapes';
import { labelOf } from '../../words/codes';
import type { Words } from '../../words/en';
import type { AutomationWords } from './words';

export interface Scope {
  devices: string[];
  tags: string[];
  type: string;
  site: string;
}
export type Doc = Record<string, Value>;
export type Action = Record<string, Doc>;
export const DAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const;
export type Day = (typeof DAYS)[number];
export const SEVERITIES = ['info', 'warning', 'critical'] as const;
export type Severity = (typeof SEVERITIES)[number];

export const emptyScope = (): Scope => ({ devices: [], tags: [], type: '', site: '' });
export const scopeOf = (raw: Partial<Scope> | null | undefined): Scope => ({ ...emptyScope(), ...raw });

/** Whom a scope means, in words; `nameOf` knows devices. */
export function scopeText(words: AutomationWords, scope: Scope, nameOf: (id: string) => string): string {
  const parts: string[] = [];
  if (scope.devices.length > 3) parts.push(words.meantMany(number(scope.devices.length)));
  else if (scope.devices.length) parts.push(scope.devices.map(nameOf).join(', '));
  if (scope.tags.length) parts.push(words.meantTags(scope.tags.join(', ')));
  if (scope.type) parts.push(words.meantType(scope.type));
  if (scope.site) parts.push(words.meantSite(scope.site));
  return parts.join(' · ') || words.allDevices;
}

export function isSwitching(body: Doc): [string, boolean] | null {
  const values = body.values;
  if (typeof values !== 'object' || values === null || Array.isArray(values)) return null;
  const entries = Object.entries(values);
  const [key, value] = entries[0] ?? ['', null];
  if (entries.length !== 1) return null;
  if (typeof value === 'boolean') return [key, value];
  return value === 0 || value === 1 ? [key, value === 1] : null;
}

/** Whom an action means, in words. */
export function whomText(words: AutomationWords, body: Doc, nameOf: (id: string) => string): string {
  if (typeof body.device === 'string' && body.device) return nameOf(body.device);
  if (body.selection && typeof body.selection === 'object') return scopeText(words, scopeOf(body.selection as unknown as Scope), nameOf);
  return words.theDevice;
}

/** A command or desired state, as a sentence without its subject. */
export function orderText(words: AutomationWords, all: Words, action: Action, nameOf: (id: string) => string): string {
  const desired = action.desired;
  const command = action.command;
  if (desired) {
    const whom = whomText(words, desired, nameOf);
    const switched = isSwitching(desired);
    if (switched) return (switched[1] ? words.saidOn : words.saidOff)(labelOf(all, switched[0]), whom);
    return words.saidDesired(Object.keys((desired.values as Doc | undefined) ?? {}).join(', '), whom);
  }
  if (command) return words.saidCommand(String(command.name ?? ''), whomText(words, command, nameOf));
  return '';
}

export function daysText(words: AutomationWords, days: readonly string[]): string {
  const held = DAYS.filter((day) => days.includes(day));
  const key = held.join();
  if (held.length === 7) return words.everyDay;
  if (key === 'mon,tue,wed,thu,fri') return words.workdays;
  if (key === 'sat,sun') return words.weekend;
  return held.map((day) => (held.length === 1 ? words.dayNames[day] : words.dayShort[day])).join(', ');
}

/** A length of time without a part that is nothing: 5 min, not 5 min 0 s. */
export const lasting = (seconds: Value | undefined): string => duration(Number(seconds) || 0).replace(/ 0 (h|min|s)$/, '');

/** What a person typed as a number, also with a comma; null when it is none. */
export function numberOf(text: string): number | null {
  const read = Number(text.trim().replace(/\s/g, '').replace(',', '.'));
  return text.trim() !== '' && Number.isFinite(read) ? read : null;
}
