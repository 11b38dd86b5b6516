// What is shown at which address, to whom, and where it stands in the navigation. Pages are fetched when somebody goes there.
import type { Component } from 'svelte';
import type { PageName } from '../live/addresses';
import type { IconName } from '../parts/Icon.svelte';
import type { Words } from '../words/en';
import Home from '../areas/home/Home.svelte';

export type Role = 'viewer' | 'operator' | 'administrator';
type Loaded = Promise<{ default: Component<never> }>;

export interface PageEntry {
  load: () => Loaded;
  /** The least one has to be. */
  need?: Role;
  /** The section of the navigation that is marked while it is shown. */
  section?: PageName;
}

// The first page travels with the rest of the shell: it is what a cold browser has to paint first.
const home = Promise.resolve({ default: Home as Component<never> });

export const pages: Partial<Record<PageName, PageEntry>> = {
  home: { load: () => home },
  devices: { load: () => import('../areas/devices/Devices.svelte') },
  device: { load: () => import('../areas/device/Device.svelte'), section: 'devices' },
  join: { load: () => import('../areas/join/Join.svelte'), need: 'operator' },
  claim: { load: () => import('../pages/Claim.svelte'), section: 'join' },
  account: { load: () => import('../areas/account/Account.svelte') },
  water: { load: () => import('../areas/water/Water.svelte') },
  files: { load: () => import('../areas/files/Files.svelte') },
  people: { load: () => import('../areas/people/People.svelte'), need: 'administrator' },
  brokers: { load: () => import('../areas/brokers/Brokers.svelte'), need: 'operator' },
  audit: { load: () => import('../areas/audit/Audit.svelte'), need: 'administrator' },
  system: { load: () => import('../areas/system/System.svelte'), need: 'administrator' },
  api: { load: () => import('../areas/api/Api.svelte') },
  dashboards: { load: () => import('../areas/dashboards/Dashboards.svelte') },
  dashboard: { load: () => import('../areas/dashboards/Dashboard.svelte'), section: 'dashboards' },
  alerts: { load: () => import('../areas/alerts/Alerts.svelte') },
  rules: { load: () => import('../areas/rules/Rules.svelte'), need: 'operator' },
  rule: { load: () => import('../areas/rules/Rule.svelte'), need: 'operator', section: 'rules' },
  schedules: { load: () => import('../areas/schedules/Schedules.svelte'), need: 'operator' },
  schedule: { load: () => import('../areas/schedules/Schedule.svelte'), need: 'operator', section: 'schedules' },
  notifications: { load: () => import('../areas/notifications/Notifications.svelte') },
  firmware: { load: () => import('../areas/firmware/Firmware.svelte'), need: 'operator' },
  newRollout: { load: () => import('../areas/firmware/NewRollout.svelte'), need: 'operator', section: 'firmware' },
  rollout: { load: () => import('../areas/firmware/Rollout.svelte'), need: 'operator', section: 'firmware' },
  webhooks: { load: () => import('../areas/webhooks/Webhooks.svelte'), need: 'operator' },
  webhook: { load: () => import('../areas/webhooks/Webhook.svelte'), need: 'operator', section: 'webhooks' },
  door: { load: () => import('../pages/Door.svelte'), need: 'administrator' },
};

export interface Section {
  page: PageName;
  icon: IconName;
  /** Its name among the words of the shell. */
  text: keyof Words['nav'];
}

/** The navigation's groups; the first is what everybody uses daily, and what a phone's bar holds. */
export const groups: readonly { text: keyof Words['nav'] | ''; sections: readonly Section[] }[] = [
  {
    text: '',
    sections: [
      { page: 'home', icon: 'home', text: 'home' },
      { page: 'devices', icon: 'devices', text: 'devices' },
      { page: 'dashboards', icon: 'dashboards', text: 'dashboards' },
      { page: 'alerts', icon: 'alerts', text: 'alerts' },
    ],
  },
  {
    text: 'automation',
    sections: [
      { page: 'rules', icon: 'rules', text: 'rules' },
      { page: 'schedules', icon: 'schedules', text: 'schedules' },
      { page: 'notifications', icon: 'notifications', text: 'notifications' },
      { page: 'webhooks', icon: 'webhooks', text: 'webhooks' },
    ],
  },
  {
    text: 'manage',
    sections: [
      { page: 'join', icon: 'join', text: 'join' },
      { page: 'firmware', icon: 'firmware', text: 'firmware' },
      { page: 'water', icon: 'water', text: 'water' },
      { page: 'files', icon: 'files', text: 'files' },
      { page: 'people', icon: 'people', text: 'people' },
      { page: 'brokers', icon: 'brokers', text: 'brokers' },
      { page: 'audit', icon: 'audit', text: 'audit' },
      { page: 'system', icon: 'system', text: 'system' },
      { page: 'door', icon: 'door', text: 'door' },
      { page: 'api', icon: 'api', text: 'api' },
    ],
  },
];

const RANK: Record<Role | '', number> = { '': 0, viewer: 1, operator: 2, administrator: 3 };

/** Whether somebody of `role` may see `page` at all. */
export function maySee(page: PageName, role: Role | ''): boolean {
  const entry = pages[page];
  return entry !== undefined && RANK[role] >= RANK[entry.need ?? 'viewer'];
}
