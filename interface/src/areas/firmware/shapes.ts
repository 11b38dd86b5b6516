// Releases and roll-outs as the server has them (docs/updates.md).
export interface Release {
  id: string;
  version: string;
  board: string;
  boot: number;
  mpy: number;
  notes: string;
  size: number;
  sha256: string;
  files: { name: string; size: number }[];
  by: string;
  created: string;
  devices: number;
  rollouts: string[];
}

export interface RunningVersion {
  board: string;
  version: string;
  devices: number;
  release: string | null;
}

export type RolloutState = 'running' | 'paused' | 'halted' | 'done' | 'cancelled';

/** A device's states in a roll-out, in the order in which they come; all but the first four are ends. */
export const STATES = [
  'waiting', 'offered', 'downloading', 'trial', 'updated', 'failed', 'rolled_back', 'refused', 'timed_out', 'cancelled', 'skipped',
] as const;
export type DeviceState = (typeof STATES)[number];
export const RETRIED = ['failed', 'timed_out', 'refused', 'rolled_back', 'cancelled'] as const;
/** These are tried again without being chosen, as the server has it. */
export const RETRIED_FIRST: readonly DeviceState[] = ['failed', 'timed_out', 'refused'];

export type Counts = Partial<Record<DeviceState, number>>;

export interface Wave {
  wave: number;
  percent: number;
  begun: boolean;
  devices: number;
  settled: number;
  states: Counts;
}

export interface Target {
  all: boolean;
  devices: string[];
  tags: string[];
  type: string;
  site: string;
}

export interface Rollout {
  id: string;
  release: string;
  version: string | null;
  board: string | null;
  state: RolloutState;
  reason: string;
  by: string;
  note: string;
  target: Target;
  waves: Wave[];
  waves_begun: number;
  wave_began: string | null;
  next_wave: string | null;
  halt_percent: number;
  halt_least: number;
  wave_pause_s: number;
  patience_s: number;
  older: boolean;
  created: string;
  deadline: string;
  changed: string;
  changed_by: string;
  ended: string | null;
  devices: number;
  settled: number;
  states: Counts;
}

/** A device in a roll-out. */
export interface Part {
  device: string;
  name: string;
  online: boolean;
  version: string | null;
  wave: number;
  state: DeviceState;
  reason: string;
  percent: number;
  attempts: number;
  offered: string | null;
  changed: string;
  ended: string | null;
}

export interface Attempt {
  rollout: string;
  release: string;
  wave: number;
  state: DeviceState;
  reason: string;
  percent: number;
  attempts: number;
  changed: string;
  ended: string | null;
}

export interface DeviceUpdate {
  version: string | null;
  board: string | null;
  boot: number | null;
  mpy: number | null;
  offer: Attempt | null;
  attempts: Attempt[];
}

export interface Preview {
  release: string;
  devices: number;
  online: number;
  waves: { wave: number; percent: number; devices: number }[];
  skipped: Record<string, number>;
  left_out: { device: string; reason: string }[];
}

/** What somebody decides about a roll-out before it begins. */
export interface Plan {
  release: string;
  target: Target;
  waves: number[];
  halt_percent: number;
  halt_least: number;
  wave_pause_s: number;
  patience_s: number;
  deadline_s: number;
  older: boolean;
  note: string;
}

export type Tone = '' | 'good' | 'warn' | 'bad';

export const toneOf: Record<DeviceState, Tone> = {
  waiting: '',
  offered: 'warn',
  downloading: 'warn',
  trial: 'warn',
  updated: 'good',
  failed: 'bad',
  rolled_back: 'bad',
  refused: 'bad',
  timed_out: 'bad',
  cancelled: '',
  skipped: '',
};

export const toneOfRollout: Record<RolloutState, Tone> = { running: 'good', paused: 'warn', halted: 'bad', done: '', cancelled: '' };

export const isOpen = (state: RolloutState): boolean => state === 'running' || state === 'paused' || state === 'halted';
