import type { Page } from '../../live/shapes';
import type { Severity } from '../automation/documents';

export interface Notice {
  id: string;
  device: string | null;
  at: string;
  severity: Severity;
  source: string;
  title: string;
  text: string;
  count: number;
  last_at: string;
  read_at: string | null;
}
export interface NoticePage extends Page<Notice> {
  unread: number;
}
export type Digest = '' | 'off' | 'hourly' | 'daily';
export interface ChannelInfo {
  id: string;
  name: string;
  kind: string;
  url: string;
  enabled: boolean;
  min_severity: Severity;
  digest: Digest;
  sent_at: string | null;
  failing_since: string | null;
  error: string;
  waiting: number;
}
export type Choice = 'send' | 'now' | 'inbox' | 'off';
export interface Preferences {
  language: '' | 'en' | 'es' | 'pt';
  zone: string;
  quiet: { days: string[]; from: string; to: string }[];
  quiet_action: 'hold' | 'inbox';
  critical_passes: boolean;
  digest: 'off' | 'hourly' | 'daily';
  digest_at: string;
  severities: Record<Severity, Choice>;
  muted: { source: string; until: string | null }[];
  snoozed_until: string | null;
  scope: 'all' | 'mine';
}
export interface PreferencesOut extends Preferences {
  effective: { language: 'en' | 'es' | 'pt'; zone: string };
}

/** What may be sent back of what came. */
export function sendable(held: PreferencesOut): Preferences {
  const { effective: _effective, ...rest } = held;
  return rest;
}
