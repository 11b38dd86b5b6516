import type { Role } from '../../live/session.svelte';

export interface User {
  name: string;
  role: Role;
  email: string;
  full_name: string;
  disabled: boolean;
  created_at: string | null;
}

export interface Grant {
  id: string;
  account: string;
  scope: 'device' | 'site' | 'tag';
  value: string;
  level: 'view' | 'control';
}

export interface Site {
  name: string;
  zone: string;
  lat: number | null;
  lon: number | null;
  devices: number;
}
