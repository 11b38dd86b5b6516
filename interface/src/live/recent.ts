// The small lines of the list: only what one shows is fetched, and few at a time, because browsers allow a page six
// connections and the stream holds one of them.
import { get } from './api';
import { isDrawable } from './measures';
import type { PointPage, Value } from './shapes';

const FIRST_WINDOW_MS = 120_000;
const WIDER = 20;
const MOST_LOOKS = 3;
const ENOUGH_POINTS = 12;
const PAGE_POINTS = 300;
const AT_ONCE = 3;

let running = 0;
const waiting: (() => void)[] = [];

async function inTurn<T>(work: () => Promise<T>): Promise<T> {
  if (running >= AT_ONCE) await new Promise<void>((go) => waiting.push(go));
  running += 1;
  try {
    return await work();
  } finally {
    running -= 1;
    waiting.shift()?.();
  }
}

/** At most `most` points that end with the newest one, oldest first, however often the device sends. */
export function recentPoints(device: string, key: string, newest: number, most: number): Promise<[number, Value][]> {
  const path = `/devices/${encodeURIComponent(device)}/telemetry/${encodeURIComponent(key)}`;
  return inTurn(async () => {
    let windowMs = FIRST_WINDOW_MS;
    let points: [number, Value][] = [];
    for (let look = 0, busy = false; look < MOST_LOOKS; look += 1) {
      const page = await get<PointPage>(path, { from: newest - windowMs, to: newest + 1, limit: PAGE_POINTS });
      // History is read from its old end: a page that is not the last one does not reach the newest points.
      if (page.next) {
        if (look) break;
        busy = true;
        windowMs /= WIDER;
        continue;
      }
      points = page.points;
      if (busy || points.length >= ENOUGH_POINTS) break;
      windowMs *= WIDER;
    }
    return points.filter(([, value]) => isDrawable(value)).slice(-most);
  });
}
