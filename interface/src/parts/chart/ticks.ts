// How moments are written along the time axis: as short as they can be and still be told apart.
import { clockTime, dayOfMonth, shortTime } from '../../live/format.svelte';
import { language } from '../../words/words.svelte';

const DAY_S = 86_400;
const made = new Map<string, Intl.DateTimeFormat>();

function format(at: number, name: string, options: Intl.DateTimeFormatOptions): string {
  const key = `${language.locale} ${name}`;
  let one = made.get(key);
  if (!one) made.set(key, (one = new Intl.DateTimeFormat(language.locale, options)));
  return one.format(at);
}

const month = (at: number): string => format(at, 'month', { month: 'short', year: 'numeric' });
const year = (at: number): string => format(at, 'year', { year: 'numeric' });

/** A moment with its date and, where two of them would look alike, the year. */
export function wholeMoment(at: number): string {
  return format(at, 'whole', { year: 'numeric', month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
}

/** Labels for ticks in seconds that are `step` seconds apart; `now` in milliseconds says which day needs no date. */
export function tickLabels(ticks: readonly number[], step: number, now: number): string[] {
  if (step >= 360 * DAY_S) return ticks.map((t) => year(t * 1000));
  if (step >= 27 * DAY_S) return ticks.map((t) => month(t * 1000));
  const today = new Date(now).toDateString();
  const thisYear = new Date(now).getFullYear();
  const dated = (at: number) => (new Date(at).getFullYear() === thisYear ? dayOfMonth(at) : format(at, 'day of year', { day: 'numeric', month: 'short', year: '2-digit' }));
  if (step >= DAY_S) return ticks.map((t) => dated(t * 1000));
  let before = today;
  return ticks.map((t) => {
    const at = t * 1000;
    const on = new Date(at).toDateString();
    const time = step < 60 ? clockTime(at) : shortTime(at);
    const fresh = on !== before;
    before = on;
    return fresh ? `${time}\n${dated(at)}` : time;
  });
}
