// What happened to a device, to be marked on the time axis of its charts.
import { get } from './api';
import { Story, type Chapter } from './story.svelte';
import { toMs, type Page, type TimelineItem } from './shapes';
import type { LiveEvent } from './shapes';

export type MarkKind = 'command' | 'alert' | 'connection' | 'firmware';
export const MARK_KINDS: readonly MarkKind[] = ['alert', 'command', 'connection', 'firmware'];

export interface Mark {
  key: string;
  at: number;
  kind: MarkKind;
  /** The timeline's own word for it, its reason and what it says. */
  what: string;
  reason: string;
  detail: string;
  device: string;
}

const PAGE = 500;
const MOST_PAGES = 4;

function kindOf(what: string): MarkKind | null {
  if (what.startsWith('command_')) return 'command';
  if (what.startsWith('alert_')) return 'alert';
  if (/^(firmware|ota)/.test(what)) return 'firmware';
  if (what === 'disconnected' || what === 'offline' || what === 'online') return 'connection';
  return null;
}

function marked(device: string, item: TimelineItem | Chapter): Mark | null {
  const kind = kindOf(item.kind);
  const at = toMs(item.at);
  if (!kind) return null;
  return { key: `${device} ${item.kind} ${at} ${item.where ?? ''}`, at, kind, what: item.kind, reason: item.reason ?? '', detail: item.detail ?? '', device };
}

/** The marks of one device, newest first; the older ones are fetched when somebody looks there. */
export class Marks {
  list: Mark[] = $state.raw([]);
  private next: string | null = null;
  private oldest = Infinity;
  private busy = false;
  private story: Story;

  constructor(readonly device: string) {
    this.story = new Story(device);
  }

  /** Has everything since `from`, as far as a few pages reach. */
  async reach(from: number): Promise<void> {
    if (this.busy || this.oldest <= from) return;
    this.busy = true;
    try {
      for (let n = 0; n < MOST_PAGES && this.oldest > from; n += 1) {
        const query = { limit: PAGE, ...(this.next ? { cursor: this.next } : {}) };
        const page = await get<Page<TimelineItem>>(`/devices/${encodeURIComponent(this.device)}/timeline`, query);
        this.add(page.items);
        this.next = page.next;
        this.oldest = page.next === null ? 0 : toMs(page.items.at(-1)?.at);
      }
    } catch {
      // A chart without marks is still a chart; the timeline itself tells what is wrong.
    } finally {
      this.busy = false;
    }
  }

  follow(batch: readonly LiveEvent[]): void {
    const told = batch.map((event) => this.story.itemOf(event)).filter((item) => item !== null);
    if (told.length) this.add(told);
  }

  private add(items: TimelineItem[]): void {
    const known = new Set(this.list.map((one) => one.key));
    const fresh = items.map((item) => marked(this.device, item)).filter((one): one is Mark => one !== null && !known.has(one.key));
    if (fresh.length) this.list = [...this.list, ...fresh].sort((a, b) => b.at - a.at);
  }
}
