export interface WebhookInfo {
  id: string;
  name: string;
  url: string;
  owner: string;
  secret: string;
  former_secret_until: string | null;
  kinds: string[];
  devices: string[];
  types: string[];
  tags: string[];
  format: 'standard' | 'thingsnxt';
  headers: Record<string, string>;
  enabled: boolean;
  disabled_reason: string;
  allow_private: boolean;
  position: number;
  behind: number;
  waiting: number;
  dead_letters: number;
  failing_since: string | null;
}
export type DeliveryState = 'waiting' | 'dead' | 'delivered';
export interface DeliveryInfo {
  seq: number;
  message_id: string;
  device: string | null;
  kind: string;
  state: DeliveryState;
  attempts: number;
  taken: string;
  last: string | null;
  next: string | null;
  status: number | null;
  error: string;
  answer: string;
}

/** What a webhook may ask for, the most wanted first. */
export const KINDS = [
  'telemetry', 'alert', 'presence', 'command', 'rule', 'twin', 'state', 'event', 'device', 'connection', 'refused', 'notice', 'answer', 'unclaimed', 'notification', 'history',
] as const;
export const isKind = (name: string): name is (typeof KINDS)[number] => (KINDS as readonly string[]).includes(name);
