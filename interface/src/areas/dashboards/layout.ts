// Where widgets are: a grid of 12 columns in which everything rises as far as it can and nothing lies on anything else.
import type { Place, WidgetType } from './shapes';

export const COLUMNS = 12;
export const TALLEST = 50;
const FARTHEST = 60;

type Placed = Place & { id: string };

/** How large a new widget is. */
export const SIZES: Record<WidgetType, [w: number, h: number]> = {
  value: [3, 2], gauge: [3, 3], chart: [6, 5], switch: [3, 2], slider: [4, 2], button: [3, 2], status: [3, 2],
  text: [4, 2], picture: [6, 6], table: [6, 4], alerts: [6, 4], countdown: [3, 2], pin: [3, 2],
};

const meet = (a: Place, b: Place): boolean => a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;

/** In the order in which one reads. */
export const byPlace = (a: Place, b: Place): number => a.y - b.y || a.x - b.x;

/** Makes room and closes gaps; the widget `first` wins where two want the same place. Their order stays as it was. */
export function settle<T extends Placed>(widgets: readonly T[], first = ''): T[] {
  const order = [...widgets].sort((a, b) => a.y - b.y || Number(b.id === first) - Number(a.id === first) || a.x - b.x);
  const found = new Map<string, T>();
  const placed: T[] = [];
  for (const one of order) {
    const w = Math.min(COLUMNS, one.w);
    const x = Math.min(one.x, COLUMNS - w);
    const taken = (y: number): T | undefined => placed.find((other) => meet({ x, y, w, h: one.h }, other));
    let y = one.y;
    for (let under = taken(y); under; under = taken(y)) y = under.y + under.h;
    while (y > 0 && !taken(y - 1)) y -= 1;
    const there = one.x === x && one.y === y && one.w === w ? one : { ...one, x, y, w };
    placed.push(there);
    found.set(one.id, there);
  }
  return widgets.map((one) => found.get(one.id)!);
}

function put<T extends Placed>(widgets: readonly T[], id: string, place: Partial<Place>): T[] {
  return settle(widgets.map((one) => (one.id === id ? { ...one, ...place } : one)), id);
}

const within = (least: number, value: number, most: number): number => Math.max(least, Math.min(most, value));

export function moved<T extends Placed>(widgets: readonly T[], id: string, x: number, y: number): T[] {
  const one = widgets.find((each) => each.id === id)!;
  return put(widgets, id, { x: within(0, x, COLUMNS - one.w), y: within(0, y, 999) });
}

export function resized<T extends Placed>(widgets: readonly T[], id: string, w: number, h: number): T[] {
  const one = widgets.find((each) => each.id === id)!;
  return put(widgets, id, { w: within(1, w, COLUMNS - one.x), h: within(1, h, TALLEST) });
}

/** One step to a side; up and down as far as it takes until something changes places. */
export function nudged<T extends Placed>(widgets: readonly T[], id: string, dx: number, dy: number): T[] {
  const one = widgets.find((each) => each.id === id)!;
  if (dx) return moved(widgets, id, one.x + dx, one.y);
  for (let n = 1; n <= FARTHEST && one.y + dy * n >= 0; n += 1) {
    const next = moved(widgets, id, one.x, one.y + dy * n);
    if (next.find((each) => each.id === id)!.y !== one.y) return next;
  }
  return [...widgets];
}

/** Changes places with the one before or after it as one reads: what there is to arrange in a single column. */
export function swapped<T extends Placed>(widgets: readonly T[], id: string, step: 1 | -1): T[] {
  const order = [...widgets].sort(byPlace);
  const at = order.findIndex((one) => one.id === id);
  const one = order[at];
  const other = order[at + step];
  if (!one || !other) return [...widgets];
  const places = new Map([[one.id, other], [other.id, one]]);
  return settle(
    widgets.map((each) => {
      const place = places.get(each.id);
      return place ? { ...each, x: Math.min(place.x, COLUMNS - each.w), y: place.y } : each;
    }),
    step < 0 ? one.id : other.id,
  );
}

/** The first place where a widget of this size fits. */
export function freePlace(widgets: readonly Place[], w: number, h: number): Place {
  for (let y = 0; ; y += 1) {
    for (let x = 0; x + w <= COLUMNS; x += 1) {
      const place = { x, y, w, h };
      if (!widgets.some((one) => meet(place, one))) return place;
    }
  }
}
