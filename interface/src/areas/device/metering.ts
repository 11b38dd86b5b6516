import type { Device } from '../../live/devices.svelte';

const LITRES = /^(total_?(liters|litres|litros)|(liters|litres|litros)_?total)$/i;
const CUBIC_METRES = /^(total_?m3|m3_?total|volume_m3)$/i;

/** The key that counts water, and in what; nothing for a device that is no meter. */
export function counterOf(device: Device): { key: string; unit: 'l' | 'm3' } | null {
  const keys = Object.keys(device.latest).filter((key) => typeof device.latest[key]?.value === 'number');
  const litres = keys.find((key) => LITRES.test(key));
  if (litres) return { key: litres, unit: 'l' };
  const cubic = keys.find((key) => CUBIC_METRES.test(key));
  if (cubic) return { key: cubic, unit: 'm3' };
  return device.info.contract === 'hidrometro' ? { key: 'totalLiters', unit: 'l' } : null;
}

export const isMeter = (device: Device): boolean => counterOf(device) !== null;
