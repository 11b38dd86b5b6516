import { get } from './api';
import { clock } from './clock.svelte';
import { interestingKeys, isDrawable } from './measures';
import { recall, remember } from './memory';
import { recentPoints } from './recent';
import { toMs, type DeviceInfo, type Latest, type Page, type PresenceEvent, type TelemetryEvent } from './shapes';
import { stream } from './stream.svelte';

const PAGE_SIZE = 200;
const REMEMBERED = 60;
const TRAIL_LENGTH = 60;
const SHORTEST_REST_MS = 30;
const LONGEST_REST_MS = 400;
const REST_PER_FETCH = 3;
const FETCH_ONE_BY_ONE = 5;
const EARLY_DEVICES = 200;
const EARLY_EVENTS = 50;

/** One device as the pages see it: what the list said, kept up to date by the stream. */
export class Device {
  info: DeviceInfo = $state.raw()!;
  latest: Record<string, Latest> = $state.raw({});
  online: boolean = $state(false);
  lastSeen: number = $state(0);
  removed: boolean = $state(false);
  /** The last values of the drawn key: what was kept, then what came in. */
  trail: number[] = $state.raw([]);
  keys: string[] = $derived(interestingKeys(this.latest));
  drawn: string = $derived(this.keys.find((key) => isDrawable(this.latest[key]?.value)) ?? '');
  title: string = $derived(this.info.name || this.info.external_id || this.info.id);
  private trailKey = '';
  private trailFrom = Infinity;
  private recollected = '';

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

  /** Puts what was kept before the live values, once for each key that is drawn. */
  async recollect(): Promise<void> {
    const key = this.drawn;
    const newest = this.latest[key]?.ts;
    if (newest === undefined || this.recollected === key) return;
    this.recollected = key;
    try {
      const points = await recentPoints(this.info.id, key, newest, TRAIL_LENGTH);
      if (key !== this.drawn) return;
      this.begin(key);
      const before = points.filter(([ts]) => ts < this.trailFrom).map(([, value]) => Number(value));
      this.trail = [...before, ...this.trail].slice(-TRAIL_LENGTH);
    } catch {
      // The line then grows with what comes in.
    }
  }

  private begin(key: string): void {
    if (key === this.trailKey) return;
    this.trailKey = key;
    this.trailFrom = Infinity;
    this.trail = [];
  }

  private follow(events: TelemetryEvent[]): void {
    const key = this.drawn;
    this.begin(key);
    const trail = this.trail.slice();
    for (const event of events) {
      const value = event.values[key];
      if (typeof value !== 'number' && typeof value !== 'boolean') continue;
      trail.push(Number(value));
      this.trailFrom = Math.min(this.trailFrom, event.ts);
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
  /** When what is listed was fetched, if the server cannot be reached now; otherwise 0. */
  old: number = $state(0);
  onlineCount: number = $derived(this.listed.reduce((n, device) => n + (device.online ? 1 : 0), 0));

  private known = new Map<string, Device>();
  private request = 0;
  private changed = new Set<string>();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private fetching = 0;
  private lastFetchMs = 0;
  /** What a newcomer said while its description was still on the way. */
  private early = new Map<string, (TelemetryEvent | PresenceEvent)[]>();

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
          else this.keepEarly(event.device, [event]);
        } else if (event.kind === 'device') {
          if (event.change === 'removed') this.forget(event.device);
          else this.refetch(event.device);
        }
      }
      for (const [id, events] of readings) {
        const device = this.known.get(id);
        if (device) device.receive(events);
        else this.keepEarly(id, events);
      }
    });
    stream.whenStale(() => void this.load());
  }

  async load(): Promise<void> {
    const request = ++this.request;
    this.fetching += 1;
    const begun = performance.now();
    try {
      const page = await get<Page<DeviceInfo>>('/devices', { limit: PAGE_SIZE, search: this.search });
      if (request !== this.request) return;
      this.listed = page.items.map((info) => this.learn(info));
      this.next = page.next;
      this.old = 0;
      if (!this.search) remember('devices', JSON.stringify({ at: clock.read(), items: page.items.slice(0, REMEMBERED) }));
      // While a page starts, everything takes long.
      if (this.state === 'ready') this.lastFetchMs = performance.now() - begun;
      this.state = 'ready';
    } catch {
      if (request === this.request && this.state === 'loading') this.recall();
    } finally {
      if (!--this.fetching) this.early.clear();
    }
  }

  /** What was seen last, while the server is away: nobody is online in it, and it says how old it is. */
  private recall(): void {
    const kept = recall('devices');
    this.state = 'failed';
    if (!kept) return;
    const { at, items } = JSON.parse(kept) as { at: number; items: DeviceInfo[] };
    this.listed = items.map((info) => this.learn({ ...info, online: false }));
    this.old = at;
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

  /** Devices that somebody else fetched. */
  take(infos: readonly DeviceInfo[]): Device[] {
    return infos.map((info) => this.learn(info));
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
    this.old = 0;
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
    for (const event of this.early.get(info.id) ?? []) {
      if (event.kind === 'telemetry') device.receive([event]);
      else device.online = event.online;
    }
    this.early.delete(info.id);
    return device;
  }

  private keepEarly(id: string, events: (TelemetryEvent | PresenceEvent)[]): void {
    if (!this.fetching) return;
    const held = this.early.get(id);
    if (held) this.early.set(id, [...held, ...events].slice(-EARLY_EVENTS));
    else if (this.early.size < EARLY_DEVICES) this.early.set(id, events);
  }

  private forget(id: string): void {
    const device = this.known.get(id);
    if (device) device.removed = true;
    this.known.delete(id);
    this.listed = this.listed.filter((listed) => listed.info.id !== id);
  }

  private refetch(id: string): void {
    this.changed.add(id);
    if (this.timer) return;
    this.fetchChanged();
  }

  private fetchChanged(): void {
    // A newcomer is fetched at once, because somebody may be waiting for it; a crowd is fetched together, the more
    // rarely the longer the list takes.
    const rest = Math.min(LONGEST_REST_MS, Math.max(SHORTEST_REST_MS, REST_PER_FETCH * this.lastFetchMs));
    this.timer = setTimeout(() => {
      this.timer = undefined;
      if (this.changed.size) this.fetchChanged();
    }, rest);
    const ids = [...this.changed];
    this.changed.clear();
    const allListed = ids.every((each) => this.listed.some((device) => device.info.id === each));
    if (allListed && ids.length <= FETCH_ONE_BY_ONE) for (const each of ids) this.one(each).catch(() => {});
    else void this.load();
  }
}

export const devices = new Devices();
