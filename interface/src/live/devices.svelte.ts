import { get } from './api';
import { interestingKeys } from './measures';
import { toMs, type DeviceInfo, type Latest, type Page, type TelemetryEvent } from './shapes';
import { stream } from './stream.svelte';

const PAGE_SIZE = 200;
const TRAIL_LENGTH = 60;
const REFETCH_DELAY_MS = 400;
const FETCH_ONE_BY_ONE = 5;

/** One device as the pages see it: what the list said, kept up to date by the stream. */
export class Device {
  info: DeviceInfo = $state.raw()!;
  latest: Record<string, Latest> = $state.raw({});
  online: boolean = $state(false);
  lastSeen: number = $state(0);
  removed: boolean = $state(false);
  /** The last values of the most interesting key, as they came in. */
  trail: number[] = $state.raw([]);
  keys: string[] = $derived(interestingKeys(this.latest));
  title: string = $derived(this.info.name || this.info.external_id || this.info.id);
  private trailKey = '';

  constructor(info: DeviceInfo) {
    this.learn(info);
  }

  learn(info: DeviceInfo): void {
    this.info = info;
    this.online = info.online;
    this.lastSeen = Math.max(this.lastSeen, toMs(info.last_seen));
    const merged: Record<string, Latest> = { ...info.latest };
    for (const [key, held] of Object.entries(this.latest)) {
      const told = merged[key];
      if (!told || held.ts > told.ts) merged[key] = held;
    }
    this.latest = merged;
  }

  receive(events: TelemetryEvent[]): void {
    const latest = { ...this.latest };
    for (const event of events) {
      this.lastSeen = Math.max(this.lastSeen, event.received);
      for (const [key, value] of Object.entries(event.values)) {
        const held = latest[key];
        // A back-log delivered late is history, not news.
        if (!held || event.ts >= held.ts) latest[key] = { value, ts: event.ts, ts_source: event.ts_source };
      }
    }
    this.latest = latest;
    this.online = true;
    this.follow(events);
  }

  private follow(events: TelemetryEvent[]): void {
    const key = this.keys.find((name) => typeof this.latest[name]?.value !== 'string') ?? '';
    const trail = key === this.trailKey ? this.trail.slice() : [];
    this.trailKey = key;
    for (const event of events) {
      const value = event.values[key];
      if (typeof value === 'number' || typeof value === 'boolean') trail.push(Number(value));
    }
    this.trail = trail.slice(-TRAIL_LENGTH);
  }
}

class Devices {
  /** What the list shows, in the server's order. */
  listed: Device[] = $state.raw([]);
  next: string | null = $state(null);
  state: 'loading' | 'ready' | 'failed' = $state('loading');
  search: string = $state('');
  onlineCount: number = $derived(this.listed.reduce((n, device) => n + (device.online ? 1 : 0), 0));

  private known = new Map<string, Device>();
  private request = 0;
  private changed = new Set<string>();
  private timer: ReturnType<typeof setTimeout> | undefined;

  start(): void {
    stream.read((batch) => {
      const readings = new Map<string, TelemetryEvent[]>();
      for (const event of batch) {
        if (event.kind === 'telemetry' && event.device) {
          const list = readings.get(event.device);
          if (list) list.push(event);
          else readings.set(event.device, [event]);
        } else if (event.kind === 'presence') {
          const device = this.known.get(event.device);
          if (device) device.online = event.online;
        } else if (event.kind === 'device') {
          if (event.change === 'removed') this.forget(event.device);
          else this.refetch(event.device);
        }
      }
      for (const [id, events] of readings) this.known.get(id)?.receive(events);
    });
    stream.whenStale(() => void this.load());
  }

  async load(): Promise<void> {
    const request = ++this.request;
    try {
      const page = await get<Page<DeviceInfo>>('/devices', { limit: PAGE_SIZE, search: this.search });
      if (request !== this.request) return;
      this.listed = page.items.map((info) => this.learn(info));
      this.next = page.next;
      this.state = 'ready';
    } catch {
      if (request === this.request && this.state === 'loading') this.state = 'failed';
    }
  }

  async more(): Promise<void> {
    if (!this.next) return;
    const request = this.request;
    const page = await get<Page<DeviceInfo>>('/devices', { limit: PAGE_SIZE, search: this.search, cursor: this.next });
    if (request !== this.request) return;
    const shown = new Set(this.listed.map((device) => device.info.id));
    this.listed = [...this.listed, ...page.items.filter((info) => !shown.has(info.id)).map((info) => this.learn(info))];
    this.next = page.next;
  }

  async one(id: string): Promise<Device> {
    return this.learn(await get<DeviceInfo>(`/devices/${encodeURIComponent(id)}`));
  }

  peek(id: string): Device | undefined {
    return this.known.get(id);
  }

  clear(): void {
    this.request += 1;
    this.known.clear();
    this.listed = [];
    this.next = null;
    this.search = '';
    this.state = 'loading';
  }

  private learn(info: DeviceInfo): Device {
    const held = this.known.get(info.id);
    if (held) {
      held.learn(info);
      return held;
    }
    const device = new Device(info);
    this.known.set(info.id, device);
    return device;
  }

  private forget(id: string): void {
    const device = this.known.get(id);
    if (device) device.removed = true;
    this.known.delete(id);
    this.listed = this.listed.filter((listed) => listed.info.id !== id);
  }

  private refetch(id: string): void {
    this.changed.add(id);
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      const ids = [...this.changed];
      this.changed.clear();
      const allListed = ids.every((each) => this.listed.some((device) => device.info.id === each));
      if (allListed && ids.length <= FETCH_ONE_BY_ONE) for (const each of ids) this.one(each).catch(() => {});
      else void this.load();
    }, REFETCH_DELAY_MS);
  }
}

export const devices = new Devices();
