// What the contracts are known to understand (docs/commands.md), to begin with; a device may understand more.
import type { Device } from '../../live/devices.svelte';

export interface Suggestion {
  name: string;
  params: Record<string, unknown>;
}

const AUTOCORE: readonly Suggestion[] = [
  { name: 'relay', params: { channel: 1, state: true } },
  { name: 'ping', params: {} },
  { name: 'status', params: {} },
];
const METER: readonly Suggestion[] = [
  { name: 'reset', params: {} },
  { name: 'setCalibration', params: { value: 450 } },
  { name: 'simulate', params: {} },
  { name: 'simSetFlow', params: { value: 5 } },
  { name: 'simOff', params: {} },
];

export function suggestionsFor(device: Device): readonly Suggestion[] {
  const { contract, attributes } = device.info;
  if (contract === 'hidrometro') return METER;
  if (contract !== 'autocore') return [];
  const speech = attributes.speech;
  const reboot = { name: 'reboot', params: speech === 'v2' ? { delay: 5 } : {} };
  if (speech === 'old') return [AUTOCORE[0]!, AUTOCORE[2]!, reboot];
  if (speech === 'v2') return [AUTOCORE[0]!, AUTOCORE[2]!, { name: 'reset', params: { delay: 5 } }, reboot];
  return AUTOCORE;
}
