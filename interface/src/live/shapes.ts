// What the server says, in its own words. Only what the pages read is listed.
export type Value = number | boolean | string | null | Value[] | { [key: string]: Value };
export type Values = Record<string, Value>;
export type TimeSource = 'device' | 'server' | 'repaired';

export interface Latest {
  value: Value;
  ts: number;
  ts_source: TimeSource;
}

export interface DeviceInfo {
  id: string;
  name: string;
  type: string;
  contract: string;
  external_id: string;
  online: boolean;
  last_seen: string | null;
  claimed: boolean;
  owner: string | null;
  site: string;
  /** What the one who asks may do with it. */
  right: 'view' | 'control' | 'own';
  tags: string[];
  attributes: Record<string, Value>;
  latest: Record<string, Latest>;
}

export interface Page<T> {
  items: T[];
  next: string | null;
}

export interface PointPage {
  points: [number, Value][];
  next: string | null;
}

export interface TimelineItem {
  at: string | number;
  first_at?: string | number | null;
  kind: string;
  reason?: string | null;
  detail?: string | null;
  count?: number | null;
  where?: string | null;
  address?: string | null;
}

export interface UnclaimedInfo {
  contract: string;
  external_id: string;
  first_seen: string | null;
  last_seen: string | null;
  count: number;
  reason: string;
  address?: string | null;
  payload?: Values | null;
}

export interface SystemInfo {
  version: string;
  started_at: string;
  uptime_s: number;
  profile: string;
  store: { state: string; seq: number };
  devices: number;
  /** The port is told by servers that listen elsewhere than the tools assume. */
  mqtt: { connections: number; received: number; port?: number; tls_port?: number | null };
  /** Some are numbers, some are tables of numbers by name. */
  counters: Record<string, number | Record<string, number>>;
  switches: Record<string, boolean>;
}

interface Numbered {
  seq?: number;
}

export interface TelemetryEvent extends Numbered {
  kind: 'telemetry';
  device: string | null;
  contract: string;
  external_id: string;
  ts: number;
  ts_source: TimeSource;
  received: number;
  values: Values;
  stored: boolean;
  reason?: string;
}
export interface PresenceEvent extends Numbered {
  kind: 'presence';
  device: string;
  online: boolean;
  at: string | number;
  reason?: string;
}
export interface ConnectionEvent extends Numbered {
  kind: 'connection';
  device: string;
  connected: boolean;
  at: string | number;
  reason?: string;
}
export interface CommandEvent extends Numbered {
  kind: 'command';
  device: string;
  command: string;
  state: string;
  at: string | number;
  reason?: string;
  name?: string;
  params?: Record<string, unknown>;
  by?: string;
}
export interface TwinEvent extends Numbered {
  kind: 'twin';
  device: string;
  change: 'desired' | 'agreed' | 'failed' | 'reported';
  at: string | number;
  version?: number;
  values?: Record<string, unknown>;
  removed?: string[];
  keys?: string[];
  reported?: Record<string, unknown>;
  reason?: string;
  by?: string;
}
export interface RuleEvent extends Numbered {
  kind: 'rule';
  device: string;
  rule: string;
  name: string;
  change: 'fired' | 'cleared';
  at: string | number;
  values?: Record<string, unknown>;
}
export interface AlertEvent extends Numbered {
  kind: 'alert';
  device: string;
  alert: string;
  change: string;
  state: string;
  severity: string;
  text: string;
  at: string | number;
  by?: string;
  note?: string;
}
/** Comes to those alone to whom it is addressed. */
export interface NotificationEvent extends Numbered {
  kind: 'notification';
  id: string;
  device: string | null;
  severity: string;
  source: string;
  title: string;
  text: string;
  /** The one that it is once more. */
  repeats: string | null;
  at: string | number;
}
/** A device in a roll-out came further: `change` is what was said, `state` what it is by that. */
export interface UpdateEvent extends Numbered {
  kind: 'update';
  device: string;
  rollout: string | null;
  release: string;
  change: string;
  state: string;
  at: string | number;
  percent?: number;
  reason?: string;
  version?: string | null;
}
/** Comes to whoever began it and to administrators. */
export interface RolloutEvent extends Numbered {
  kind: 'rollout';
  rollout: string;
  release: string;
  state: string;
  wave: number;
  reason: string;
  by: string;
  at: string | number;
}
export interface DeviceEvent extends Numbered {
  kind: 'device';
  device: string;
  change: 'registered' | 'changed' | 'removed';
  at?: string | number;
}
export interface RefusedEvent extends Numbered {
  kind: 'refused';
  device: string | null;
  where?: string;
  reason: string;
  detail?: string;
  count?: number;
  at: string | number;
  address?: string;
}
export interface NoticeEvent extends Numbered {
  kind: 'notice';
  device: string | null;
  kind_of: string;
  detail?: string;
  count?: number;
  at: string | number;
}
export interface UnclaimedEvent extends Numbered {
  kind: 'unclaimed';
  contract: string;
  external_id: string;
  at: string | number;
  reason: string;
  payload?: Values;
  count?: number;
}
export interface GapEvent extends Numbered {
  kind: 'gap';
  missed: number;
}

export type LiveEvent =
  | TelemetryEvent
  | PresenceEvent
  | ConnectionEvent
  | CommandEvent
  | TwinEvent
  | RuleEvent
  | AlertEvent
  | NotificationEvent
  | UpdateEvent
  | RolloutEvent
  | DeviceEvent
  | RefusedEvent
  | NoticeEvent
  | UnclaimedEvent
  | GapEvent;

export function toMs(time: string | number | null | undefined): number {
  if (time == null) return 0;
  return typeof time === 'number' ? time : Date.parse(time) || 0;
}

export type CommandState = 'queued' | 'sent' | 'confirmed' | 'failed' | 'timed_out' | 'expired' | 'cancelled';

export interface CommandOut {
  id: string;
  name: string;
  params: Record<string, Value>;
  state: CommandState;
  reason: string;
  result: Value;
  by: string;
  origin: string;
  created: string;
  expires: string;
  sent: string | null;
  ended: string | null;
  /** Whether an answer can come at all. */
  answers: boolean;
  transitions: { at: string; state: string; reason: string }[];
}

export interface Change {
  at: string;
  by: string;
  version: number;
}

export interface DesiredOut {
  version: number;
  values: Values;
  delta: Values;
  effective: Values;
  changed: Record<string, Change & { state: 'pending' | 'agreed' | 'failed'; since: string }>;
}

export interface ReportedOut {
  version: number;
  values: Values;
  changed: Record<string, Change>;
}
