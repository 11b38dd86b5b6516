// What the server says on the pages of one device.

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
