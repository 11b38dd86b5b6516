// Somebody waits for the first message of a board: whether it came, and if it did not, what was refused meanwhile.
import { get } from '../../live/api';
import { clock } from '../../live/clock.svelte';
import { session } from '../../live/session.svelte';
import { toMs, type Page, type TimelineItem } from '../../live/shapes';
import { stream } from '../../live/stream.svelte';

/** After which the page says by itself why nothing came. */
export const PATIENCE_MS = 20_000;
const MOST = 5;
const LINES = 50;
// A line of the timeline counts a minute's refusals, and its clock is the server's.
const SLACK_MS = 2_000;

export interface Refusal {
  reason: string;
  detail: string;
  /** Whom it said it was, when that is known. */
  who: string;
  address: string;
  at: number;
  count: number;
}

interface Why {
  story: TimelineItem[];
  door: TimelineItem[];
}

/** Details of the server put names into quotes. */
export function named(detail: string): string {
  return /'([^']{1,80})'/.exec(detail)?.[1] ?? '';
}

export class Waiting {
  heard = $state(false);
  late = $state(false);
  refusals: Refusal[] = $state.raw([]);
  private begun = clock.read();
  private timer: ReturnType<typeof setTimeout> | undefined;

  /** `device` is the one that is awaited; without it anybody is welcome. */
  constructor(private readonly device: string) {}

  /** From now on, until what it returns is called. */
  follow(): () => void {
    const stop = stream.read((batch) => {
      for (const event of batch) {
        if (event.kind === 'telemetry' && event.device && (!this.device || event.device === this.device)) this.heard = true;
        else if (event.kind === 'refused' && this.concerns(event.device)) {
          this.learn(event.device ?? '', { ...event, kind: 'refused', reason: event.reason, detail: event.detail ?? '', at: event.at });
        }
      }
    });
    this.again();
    return () => {
      stop();
      clearTimeout(this.timer);
    };
  }

  again(): void {
    this.late = false;
    this.begun = clock.read();
    this.refusals = [];
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.explain(), PATIENCE_MS);
  }

  private concerns(device: string | null): boolean {
    return !device || !this.device || device === this.device;
  }

  private async explain(): Promise<void> {
    if (this.heard) return;
    await Promise.all([this.askDoor(), this.askWhy()]);
    this.late = !this.heard;
  }

  /** What no device's story tells; administrators may see it. */
  private async askDoor(): Promise<void> {
    if (session.role !== 'administrator') return;
    try {
      const page = await get<Page<TimelineItem>>('/system/timeline', { limit: LINES });
      for (const line of page.items) this.learn('', line);
    } catch {
      // What was seen live has to do.
    }
  }

  private async askWhy(): Promise<void> {
    if (!this.device) return;
    try {
      const why = await get<Why>('/why', { about: this.device });
      for (const line of why.story) this.learn(this.device, line);
    } catch {
      // The same.
    }
  }

  private learn(device: string, line: TimelineItem): void {
    const at = toMs(line.at);
    const reason = line.reason ?? '';
    if (line.kind !== 'refused' || !reason || at < this.begun - SLACK_MS) return;
    const detail = line.detail ?? '';
    const known = this.refusals.find((one) => one.reason === reason && one.detail === detail);
    const refusal = { reason, detail, who: device || named(detail), address: line.address ?? '', at, count: Math.max(line.count ?? 1, known?.count ?? 0) };
    const others = this.refusals.filter((one) => one !== known);
    this.refusals = [known && known.at > at ? known : refusal, ...others].sort((a, b) => b.at - a.at).slice(0, MOST);
  }
}
