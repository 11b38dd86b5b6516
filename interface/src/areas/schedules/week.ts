// Hours of a week as one paints them: for each day, spans of minutes; and as the server keeps them, windows.
import { DAYS, type Day } from '../automation/documents';
import type { Value } from '../../live/shapes';

export interface Window {
  days: Day[];
  from: string;
  to?: string;
  [more: string]: Value | undefined;
}
export type Span = [from: number, to: number];
export type Week = Record<Day, Span[]>;

export const DAY_MINUTES = 1440;
export const HOUR = 60;

export function emptyWeek(): Week {
  return { mon: [], tue: [], wed: [], thu: [], fri: [], sat: [], sun: [] };
}

export function minutesOf(text: string): number {
  const [hours, minutes] = text.split(':').map(Number);
  return (hours ?? 0) * HOUR + (minutes ?? 0);
}

export function clockOf(minutes: number): string {
  return `${String(Math.floor(minutes / HOUR)).padStart(2, '0')}:${String(minutes % HOUR).padStart(2, '0')}`;
}

const after = (day: Day): Day => DAYS[(DAYS.indexOf(day) + 1) % 7]!;

function merged(spans: readonly Span[]): Span[] {
  const found: Span[] = [];
  for (const [from, to] of [...spans].filter(([a, b]) => a < b).sort((a, b) => a[0] - b[0])) {
    const last = found.at(-1);
    if (last && from <= last[1]) last[1] = Math.max(last[1], to);
    else found.push([from, to]);
  }
  return found;
}

export function weekOf(windows: readonly Window[]): Week {
  const week = emptyWeek();
  for (const { days, from, to } of windows) {
    if (!to) continue;
    const [a, b] = [minutesOf(from), minutesOf(to)];
    for (const day of days) {
      if (b > a) week[day].push([a, b]);
      else {
        // Its end is on the next day.
        week[day].push([a, DAY_MINUTES]);
        week[after(day)].push([0, b]);
      }
    }
  }
  for (const day of DAYS) week[day] = merged(week[day]);
  return week;
}

export function windowsOf(week: Week): Window[] {
  // A night is one window that ends on the next day.
  const joined = new Map<Day, number>();
  for (const day of DAYS) {
    const last = week[day].at(-1);
    const first = week[after(day)][0];
    if (last && first && last[1] === DAY_MINUTES && first[0] === 0 && first[1] <= last[0] && last[0] > 0) joined.set(day, first[1]);
  }
  const found = new Map<string, Window>();
  for (const day of DAYS) {
    const before = DAYS[(DAYS.indexOf(day) + 6) % 7]!;
    for (const [i, [from, to]] of week[day].entries()) {
      if (i === 0 && from === 0 && joined.has(before)) continue;
      const night = i === week[day].length - 1 ? joined.get(day) : undefined;
      const window: Window = { days: [day], from: clockOf(from), to: clockOf(night ?? to) };
      const held = found.get(`${window.from} ${window.to}`);
      if (held) held.days.push(day);
      else found.set(`${window.from} ${window.to}`, window);
    }
  }
  return [...found.values()];
}

/** How much of an hour is painted, 0 to 1. */
export function share(week: Week, day: Day, hour: number): number {
  const [a, b] = [hour * HOUR, (hour + 1) * HOUR];
  return week[day].reduce((sum, [from, to]) => sum + Math.max(0, Math.min(b, to) - Math.max(a, from)), 0) / HOUR;
}

export function painted(week: Week, day: Day, from: number, to: number, on: boolean): Week {
  const spans = week[day];
  const next: Span[] = on ? [...spans, [from, to]] : spans.flatMap(([a, b]): Span[] => [[a, Math.min(b, from)], [Math.max(a, to), b]]);
  return { ...week, [day]: merged(next) };
}

export const minutesIn = (week: Week): number => DAYS.reduce((sum, day) => sum + week[day].reduce((n, [a, b]) => n + b - a, 0), 0);
