// What the session's own API and stream tell the widgets of a dashboard.
import { untrack } from 'svelte';
import type { AlertInfo, AlertPage } from '../../live/alerts.svelte';
import { ApiError, address, get } from '../../live/api';
import { devices, type Device } from '../../live/devices.svelte';
import type { DeviceInfo, LiveEvent, Page } from '../../live/shapes';
import { stream } from '../../live/stream.svelte';
import { devicesOf, type AlertBrief, type Widget } from './shapes';
import type { Answer, Hearer, Question, Seen, Source } from './source';
import { Wishes } from '../../live/wishes.svelte';

const AT_ONCE = 4;
const REST_MS = 400;
const MOST_OF_A_TAG = 500;
const MOST_ALERTS = 200;

export class OwnSource implements Source {
  alerts: readonly AlertBrief[] = $state.raw([]);
  private found: Record<string, Device | null> = $state.raw({});
  private tags: Record<string, readonly Device[]> = $state.raw({});
  private asked = new Set<string>();
  private wished = new Map<string, Wishes>();
  private hearers = new Set<Hearer>();
  private widgets: readonly Widget[] = [];
  private alertTimer: ReturnType<typeof setTimeout> | undefined;
  private tagTimer: ReturnType<typeof setTimeout> | undefined;

  /** Follows the stream until the returned function is called. */
  start(): () => void {
    const reading = stream.read((batch) => this.take(batch));
    const stale = stream.whenStale(() => {
      for (const one of this.wished.values()) void one.load().catch(() => {});
      void this.fetchMany();
    });
    return () => {
      reading();
      stale();
      clearTimeout(this.alertTimer);
      clearTimeout(this.tagTimer);
    };
  }

  /** Fetches what these widgets need and is not here yet. */
  follow(widgets: readonly Widget[]): void {
    this.widgets = widgets;
    const needed = [...new Set(widgets.filter((one) => one.visible !== false).flatMap(devicesOf))].filter((id) => !this.asked.has(id));
    for (const id of needed) this.asked.add(id);
    const held = needed.flatMap((id) => devices.peek(id) ?? []);
    if (held.length) this.found = { ...this.found, ...Object.fromEntries(held.map((one) => [one.info.id, one])) };
    const left = needed.filter((id) => !devices.peek(id));
    for (let n = 0; n < Math.min(AT_ONCE, left.length); n += 1) void this.work(left);
    void this.fetchMany();
  }

  device(id: string): Seen | null | undefined {
    const one = this.found[id];
    return one ? (one.removed ? null : seenOf(one)) : one;
  }

  tagged(tag: string): readonly Seen[] {
    return (this.tags[tag] ?? []).filter((one) => !one.removed).map(seenOf);
  }

  points(device: string, key: string, question: Question, signal: AbortSignal): Promise<Answer> {
    return get<Answer>(`/devices/${encodeURIComponent(device)}/telemetry/${encodeURIComponent(key)}`, { ...question }, signal);
  }

  picture(id: string): string {
    return address(`/pictures/${encodeURIComponent(id)}`);
  }

  mayAct(device: string): boolean {
    const info = this.found[device]?.info;
    return info !== undefined && info.right !== 'view';
  }

  wishes(device: string): Wishes | undefined {
    let made = this.wished.get(device);
    if (!made && this.found[device]) {
      // Made while a widget is drawn: what is made within a reaction would not be followed by it.
      made = untrack(() => new Wishes(device));
      this.wished.set(device, made);
      void made.load().catch(() => {});
    }
    return made;
  }

  hear(hearer: Hearer): () => void {
    this.hearers.add(hearer);
    return () => this.hearers.delete(hearer);
  }

  private async work(left: string[]): Promise<void> {
    for (let id = left.shift(); id !== undefined; id = left.shift()) {
      try {
        const one = await devices.one(id);
        this.found = { ...this.found, [id]: one };
      } catch (error) {
        if (error instanceof ApiError && [403, 404].includes(error.status)) this.found = { ...this.found, [id]: null };
        // Anything else is asked again with the next look.
        else this.asked.delete(id);
      }
    }
  }

  private async fetchMany(): Promise<void> {
    const tags = new Set(this.widgets.filter((one) => one.type === 'table').map((one) => one.options.tag ?? ''));
    tags.delete('');
    for (const tag of tags) {
      void get<Page<DeviceInfo>>('/devices', { tag, limit: MOST_OF_A_TAG }).then(
        (page) => (this.tags = { ...this.tags, [tag]: devices.take(page.items) }),
        () => {},
      );
    }
    if (this.widgets.some((one) => one.type === 'alerts')) {
      void get<AlertPage>('/alerts', { state: ['open', 'acknowledged'], limit: MOST_ALERTS }).then(
        (page) => (this.alerts = page.items.map(({ device, severity, state, text, opened }: AlertInfo) => ({ device, severity, state, text, opened }))),
        () => {},
      );
    }
  }

  private take(batch: readonly LiveEvent[]): void {
    for (const event of batch) {
      if (event.kind === 'telemetry') {
        if (event.device) for (const hearer of this.hearers) hearer(event.device, event.ts, event.values);
      } else if (event.kind === 'twin' || event.kind === 'command') this.wished.get(event.device)?.follow(event);
      else if (event.kind === 'alert') this.alertTimer ??= setTimeout(() => { this.alertTimer = undefined; void this.fetchMany(); }, REST_MS);
      else if (event.kind === 'device' && this.widgets.some((one) => one.options.tag)) {
        this.tagTimer ??= setTimeout(() => { this.tagTimer = undefined; void this.fetchMany(); }, REST_MS);
      }
    }
  }
}

const views = new WeakMap<Device, Seen>();

function seenOf(device: Device): Seen {
  let view = views.get(device);
  if (!view) {
    view = {
      get id() { return device.info.id; },
      get title() { return device.title; },
      get online() { return device.online; },
      get lastSeen() { return device.lastSeen; },
      get latest() { return device.latest; },
    };
    views.set(device, view);
  }
  return view;
}
