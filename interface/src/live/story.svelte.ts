import { get } from './api';
import { toMs, type LiveEvent, type Page, type TimelineItem } from './shapes';

const FIRST_LOOK = 100;
const KEPT = 300;

export interface Chapter {
  key: number;
  at: number;
  firstAt: number;
  kind: string;
  reason: string;
  detail: string;
  count: number;
  where: string;
  address: string;
}

/** Presence for these reasons is a line of its own; the others are the connection's. */
const OWN_LINE = new Set(['silent', 'heard', 'status']);

let nextKey = 0;

/** The timeline of a device, or of the door itself when `device` is null. Newest first. */
export class Story {
  chapters: Chapter[] = $state.raw([]);
  state: 'loading' | 'ready' | 'failed' = $state('loading');

  /** What happened while the list was on its way; it may or may not be in it. */
  private arrived: Chapter[] | null = null;

  constructor(readonly device: string | null) {}

  async load(): Promise<void> {
    const path = this.device === null ? '/system/timeline' : `/devices/${encodeURIComponent(this.device)}/timeline`;
    try {
      this.arrived = [];
      const page = await get<Page<TimelineItem>>(path, { limit: FIRST_LOOK });
      let chapters = page.items.map(chapterOf);
      for (const fresh of this.arrived) if (!chapters.some((held) => tells(held, fresh))) chapters = prepend(chapters, fresh);
      this.chapters = chapters;
      this.state = 'ready';
    } catch {
      if (this.state === 'loading') this.state = 'failed';
    } finally {
      this.arrived = null;
    }
  }

  follow(batch: readonly LiveEvent[]): void {
    let chapters = this.chapters;
    for (const event of batch) {
      const item = this.itemOf(event);
      if (!item) continue;
      const chapter = chapterOf(item);
      this.arrived?.push(chapter);
      chapters = prepend(chapters, chapter);
    }
    if (chapters !== this.chapters) this.chapters = chapters.slice(0, KEPT);
  }

  itemOf(event: LiveEvent): TimelineItem | null {
    if (event.kind === 'gap' || event.kind === 'telemetry' || event.kind === 'unclaimed' || event.kind === 'notification' || event.kind === 'rollout') return null;
    if ((event.device || null) !== this.device) return null;
    if (event.kind === 'refused') return { ...event };
    if (event.kind === 'notice') return { ...event, kind: event.kind_of };
    if (event.kind === 'connection') return { ...event, kind: event.connected ? 'connected' : 'disconnected' };
    if (event.kind === 'command') {
      // Its first and its last step tell the story; those between are the command's own.
      if (event.state === 'sent' || event.state === 'arrived' || (event.state === 'queued' && !event.name)) return null;
      const asked = event.name ? `${told(event.name, event.params)} (${event.by || '–'})` : null;
      return { at: event.at, kind: `command_${event.state}`, detail: asked ?? event.reason ?? null, where: event.command };
    }
    if (event.kind === 'twin') {
      // Reports are the device's own page, not its story.
      if (event.change === 'reported') return null;
      if (event.change === 'desired') {
        const gone = (event.removed ?? []).map((key) => `-${key}`).join(' ');
        const detail = `${told('', event.values)} ${gone}`.trim();
        return { at: event.at, kind: 'desired', where: String(event.version), detail: `${detail} (${event.by || '–'})` };
      }
      return { at: event.at, kind: `desired_${event.change}`, detail: (event.keys ?? []).join(', ') };
    }
    if (event.kind === 'rule') {
      const kind = `rule_${event.change}`;
      return { at: event.at, kind, where: event.rule, detail: told(event.name, event.values) };
    }
    if (event.kind === 'alert') {
      if (event.change === 'repeated') return null;
      const by = event.by ? ` (${event.by})` : '';
      const detail = [`${event.text}${by}`, event.note].filter(Boolean).join(': ');
      return { at: event.at, kind: `alert_${event.change}`, reason: event.severity, where: event.alert, detail };
    }
    if (event.kind === 'presence') {
      if (!OWN_LINE.has(event.reason ?? '')) return null;
      return { ...event, kind: event.online ? 'online' : 'offline', reason: '', detail: event.reason ?? null };
    }
    if (event.kind === 'update') {
      // How far a download is fills no lines.
      if (event.change === 'downloading') return null;
      return { at: event.at, kind: `update_${event.change}`, where: event.rollout ?? '', detail: event.reason ? `${event.release}: ${event.reason}` : event.release };
    }
    return { at: event.at ?? Date.now(), kind: event.change };
  }
}

function told(name: string, params: Record<string, unknown> = {}): string {
  const short = Object.entries(params).filter(([, value]) => typeof value !== 'object');
  return [name, ...short.map(([key, value]) => `${key}=${value}`)].join(' ').trim();
}

function chapterOf(item: TimelineItem): Chapter {
  const at = toMs(item.at);
  return {
    key: nextKey++,
    at,
    firstAt: toMs(item.first_at) || at,
    kind: item.kind,
    reason: item.reason ?? '',
    detail: item.detail ?? '',
    count: item.count ?? 1,
    where: item.where ?? '',
    address: item.address ?? '',
  };
}

function tells(held: Chapter, fresh: Chapter): boolean {
  return held.kind === fresh.kind && held.reason === fresh.reason && held.where === fresh.where && held.at >= fresh.at;
}

function prepend(chapters: Chapter[], fresh: Chapter): Chapter[] {
  const head = chapters[0];
  const same = head && head.kind === fresh.kind && head.reason === fresh.reason && head.where === fresh.where;
  // A board that repeats its mistake every second should fill one line, not the page.
  if (same) return [{ ...head, at: fresh.at, detail: fresh.detail, count: head.count + fresh.count }, ...chapters.slice(1)];
  return [fresh, ...chapters];
}
