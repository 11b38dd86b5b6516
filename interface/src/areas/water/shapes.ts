export interface MonthBill {
  month: string;
  litres: number;
  complete: boolean;
  base: number;
  water: number;
  taxes: number;
  total: number;
  currency: string;
}

export interface Consumption {
  device: string;
  buckets: { from: number; to: number; litres: number; complete: boolean }[];
  litres: number;
  tariff: string | null;
  bill: MonthBill[] | null;
  leaks: { alert: string; state: string; text: string; opened: string | null; ended: string | null }[];
}

export interface Customer {
  id: number;
  name: string;
  contact: string;
  price: number;
  currency: string;
  tariff: string;
  meters: { device: string; serial: string; months: Record<string, number>; cost: number }[];
}

export interface Tariff {
  id: string;
  name: string;
  currency: string;
  base: number;
  steps: { up_to_m3: number | null; price: number }[];
  taxes_percent: number;
}

/** What `litres` in a month cost by `tariff`, as the server reckons it (docs/water.md). */
export function costOf(litres: number, tariff: Tariff): number {
  let left = Math.max(0, litres) / 1000;
  let before = 0;
  let water = 0;
  for (const [i, step] of tariff.steps.entries()) {
    const last = i === tariff.steps.length - 1;
    const room = step.up_to_m3 === null || last ? left : Math.min(left, step.up_to_m3 - before);
    water += room * step.price;
    left -= room;
    before = step.up_to_m3 ?? before;
  }
  const net = Math.round((tariff.base + Math.round(water * 100) / 100) * 100) / 100;
  return net + Math.round(net * tariff.taxes_percent) / 100;
}

/** Litres as people speak of them: litres while they are few, cubic metres otherwise. */
export function volume(litres: number, number: (value: number, digits?: number | null) => string): string {
  return litres < 1000 ? `${number(litres, 0)} L` : `${number(litres / 1000, litres < 100_000 ? 2 : 1)} m³`;
}
