// What the server says on the pages of one device.
import type { Value, Values } from '../../live/shapes';

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

export interface Grant {
  id: string;
  account: string;
  scope: 'device' | 'site' | 'tag';
  value: string;
  level: 'view' | 'control';
  by: string;
  at: string | null;
}

export interface Credential {
  id: string;
  kind: 'key' | 'password' | 'certificate';
  username: string | null;
  label: string;
  by: string | null;
  created_at: string | null;
  expires_at: string | null;
  expired: boolean;
  fingerprint: string | null;
}

export interface RawMessage {
  at: number;
  direction: 'in' | 'out';
  via: 'mqtt' | 'http';
  where: string;
  qos: number;
  retained: boolean;
  text: string;
  encoding: 'utf-8' | 'hex';
  length: number;
  verdict: 'stored' | 'passed' | 'refused' | 'sent' | 'not_reached';
  reason: string;
}
