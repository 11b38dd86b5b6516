import { language } from '../words/words.svelte';
import { measureOf } from './measures';
import type { Value } from './shapes';

const MINUTE = 60;
const HOUR = 3600;
const DAY = 86_400;

// Intl objects cost far more to build than to use, and a busy page uses them thousands of times a second.
const kept = new Map<string, Intl.NumberFormat | Intl.DateTimeFormat | Intl.RelativeTimeFormat>();

function keep<T extends Intl.NumberFormat | Intl.DateTimeFormat | Intl.RelativeTimeFormat>(name: string, make: () => T): T {
  const key = `${language.locale} ${name}`;
  let made = kept.get(key);
  if (!made) kept.set(key, (made = make()));
  return made as T;
}

export function number(value: number, digits: number | null = null): string {
  if (!Number.isFinite(value)) return '–';
  const size = Math.abs(value);
  if (size >= 1e12 || (size > 0 && size < 1e-6)) {
    return keep('scientific', () => new Intl.NumberFormat(language.locale, { notation: 'scientific', maximumFractionDigits: 3 })).format(value);
  }
  if (digits === null) {
    const most = Number.isInteger(value) ? 0 : size >= 1000 ? 1 : size >= 1 ? 2 : 4;
    return keep(`up to ${most}`, () => new Intl.NumberFormat(language.locale, { maximumFractionDigits: most })).format(value);
  }
  // Always the same number of digits, so that a live figure does not jump sideways.
  return keep(`fixed ${digits}`, () =>
    new Intl.NumberFormat(language.locale, { minimumFractionDigits: digits, maximumFractionDigits: digits }),
  ).format(value);
}

/** A value without its unit. */
export function reading(key: string, value: Value | undefined): string {
  if (typeof value === 'number') return number(value, measureOf(key).digits);
  if (typeof value === 'boolean') return value ? language.words.on : language.words.off;
  if (value == null) return '–';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

export function unitFor(key: string, value: Value | undefined): string {
  return typeof value === 'number' ? measureOf(key).unit : '';
}

export function age(then: number, now: number): string {
  if (!then) return language.words.never;
  const seconds = Math.round((now - then) / 1000);
  if (seconds < 1) return language.words.justNow;
  const say = keep('age', () => new Intl.RelativeTimeFormat(language.locale, { style: 'narrow' }));
  if (seconds < MINUTE) return say.format(-seconds, 'second');
  if (seconds < HOUR) return say.format(-Math.floor(seconds / MINUTE), 'minute');
  if (seconds < DAY) return say.format(-Math.floor(seconds / HOUR), 'hour');
  return say.format(-Math.floor(seconds / DAY), 'day');
}

export function duration(seconds: number): string {
  const parts: [number, string][] = [
    [Math.floor(seconds / DAY), 'd'],
    [Math.floor((seconds % DAY) / HOUR), 'h'],
    [Math.floor((seconds % HOUR) / MINUTE), 'min'],
    [Math.floor(seconds % MINUTE), 's'],
  ];
  const first = parts.findIndex(([n]) => n > 0);
  if (first < 0) return '0 s';
  return parts.slice(first, first + 2).map(([n, unit]) => `${n} ${unit}`).join(' ');
}

/** Clock time for today, with the date for other days. */
export function moment(at: number, now: number): string {
  if (!at) return '–';
  const sameDay = new Date(at).toDateString() === new Date(now).toDateString();
  return sameDay ? clockTime(at) : dateTime(at);
}

export function clockTime(at: number): string {
  return keep('clock', () => new Intl.DateTimeFormat(language.locale, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' })).format(at);
}

export function shortTime(at: number): string {
  return keep('short', () => new Intl.DateTimeFormat(language.locale, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' })).format(at);
}

export function dateTime(at: number): string {
  return keep('date', () =>
    new Intl.DateTimeFormat(language.locale, { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' }),
  ).format(at);
}

export function day(at: number): string {
  return keep('day', () => new Intl.DateTimeFormat(language.locale, { year: 'numeric', month: 'short', day: 'numeric' })).format(at);
}

export function dayOfMonth(at: number): string {
  return keep('day of month', () => new Intl.DateTimeFormat(language.locale, { month: 'short', day: 'numeric' })).format(at);
}

const BYTE_UNITS = ['B', 'kB', 'MB', 'GB', 'TB'] as const;

/** A size in the units that disks are sold in. */
export function bytes(size: number): string {
  const step = Math.min(BYTE_UNITS.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, size)) / 3)));
  const value = size / 1000 ** step;
  return `${number(value, step === 0 || value >= 100 ? 0 : 1)} ${BYTE_UNITS[step]}`;
}

export function money(amount: number, currency: string): string {
  return keep(`money ${currency}`, () => new Intl.NumberFormat(language.locale, { style: 'currency', currency })).format(amount);
}

/** A month such as `2026-11`, in words. */
export function monthName(month: string): string {
  return keep('month', () => new Intl.DateTimeFormat(language.locale, { year: 'numeric', month: 'long', timeZone: 'UTC' })).format(new Date(`${month}-15T00:00:00Z`));
}
