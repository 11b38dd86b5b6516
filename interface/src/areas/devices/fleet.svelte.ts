// The list of all devices: filtered and ordered by the server, fetched in pages as somebody scrolls, kept up to date live.
import { get, type Query } from '../../live/api';
import type { DeviceInfo } from '../../live/shapes';
import { stream } from '../../live/stream.svelte';

export const FILTERS = ['search', 'contract', 'tag', 'type', 'site', 'online', 'firmware', 'owner'] as const;
export type FilterName = (typeof FILTERS)[number];
export type Filters = Record<FilterName, string>;
export const SORTS = ['id', 'name', 'last_seen'] as const;
export type Sort = (typeof SORTS)[number];

export interface Row {
  id: string;
  name: string;
  type: string;
  contract: string;
  external_id: string;
  online: boolean;
  last_seen: string | null;
  owner: string | null;
  site: string;
  right: string;
  tags: string[];
}

interface RowPage<T> {
  items: T[];
  next: string | null;
  total: number;
}

export type Counts = Record<string, number>;
export interface Facets {
  contract: Counts;
  tag: Counts;
  type: Counts;
  site: Counts;
  online: Counts;
  firmware: Counts;
  total: number;
}

const PAGE = 500;
const FIELDS = 'name,type,contract,external_id,online,last_seen,owner,site,right,tags';
const REST_MS = 600;

export class Fleet {
  rows: Row[] = $state.raw([]);
  total = $state(0);
  facets: Facets | null = $state.raw(null);
  state: 'loading' | 'ready' | 'failed' = $state('loading');
  private next: string | null = null;
  private asked = 0;
  private under: Promise<void> | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private places = new Map<string, number>();

  constructor(
    private readonly filters: () => Filters,
    private readonly sort: () => Sort,
  ) {}

  query(): Query {
    return { ...this.filters() };
  }

  follow(): () => void {
    const stop = stream.read((batch) => {
      let rows: Row[] | null = null;
      for (const event of batch) {
        if (event.kind === 'device') this.later();
        else if (event.kind === 'presence') {
          const at = this.places.get(event.device);
          const row = at === undefined ? undefined : (rows ?? this.rows)[at];
          if (at === undefined || !row || row.online === event.online) continue;
          rows ??= this.rows.slice();
          rows[at] = { ...row, online: event.online };
        }
      }
      if (rows) this.rows = rows;
    });
    const fresh = stream.whenStale(() => this.later());
    return () => {
      stop();
      fresh();
      clearTimeout(this.timer);
    };
  }

  /** From the beginning, and again as far as it reached. */
  async load(reach = 0): Promise<void> {
    const mine = ++this.asked;
    this.under = null;
    try {
      const [page, facets] = await Promise.all([this.page(null), get<Facets>('/devices/facets', this.query())]);
      let { items, next } = page;
      while (next && items.length < reach && mine === this.asked) {
        const more = await this.page(next);
        items = [...items, ...more.items];
        next = more.next;
      }
      if (mine !== this.asked) return;
      this.take(items, next);
      this.total = page.total;
      this.facets = facets;
      this.state = 'ready';
    } catch {
      if (mine === this.asked) this.state = 'failed';
    }
  }

  /** Until row `end` is here. */
  async reach(end: number): Promise<void> {
    while (this.next && this.rows.length < Math.min(end, this.total)) {
      const mine = this.asked;
      this.under ??= this.more();
      await this.under;
      if (mine !== this.asked || this.state !== 'ready') return;
    }
  }

  private async more(): Promise<void> {
    const mine = this.asked;
    try {
      const page = await this.page(this.next);
      if (mine === this.asked) this.take([...this.rows, ...page.items], page.next);
    } catch {
      // What is here stays; scrolling asks again.
      if (mine === this.asked) this.state = 'failed';
    } finally {
      if (mine === this.asked) this.under = null;
    }
  }

  private page(cursor: string | null): Promise<RowPage<Row>> {
    return get<RowPage<Row>>('/devices', { ...this.query(), sort: this.sort(), limit: PAGE, fields: FIELDS, ...(cursor ? { cursor } : {}) });
  }

  private take(rows: Row[], next: string | null): void {
    this.rows = rows;
    this.next = next;
    this.places = new Map(rows.map((row, at) => [row.id, at]));
  }

  private later(): void {
    if (this.timer) return;
    this.timer = setTimeout(() => {
      this.timer = undefined;
      void this.load(this.rows.length);
    }, REST_MS);
  }
}

/** Whole devices for cards, a page at a time. */
export const wholePage = (query: Query, cursor: string | null): Promise<RowPage<DeviceInfo>> =>
  get<RowPage<DeviceInfo>>('/devices', { ...query, limit: 60, ...(cursor ? { cursor } : {}) });
