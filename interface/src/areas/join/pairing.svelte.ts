// The pairing window: while it is open, unknown boards may register themselves.
import { get, post, remove } from '../../live/api';
import { clock } from '../../live/clock.svelte';
import { toMs } from '../../live/shapes';
import { stream } from '../../live/stream.svelte';
import { toasts } from '../../live/toasts.svelte';

interface Told {
  open: boolean;
  permanent: boolean;
  by: string | null;
  opened_at: string | null;
  closes_at: string | null;
  seconds_left: number;
}

export class Pairing {
  told: Told | null = $state.raw(null);
  busy = $state(false);
  readonly left: number = $derived(this.told?.closes_at ? Math.max(0, Math.round((toMs(this.told.closes_at) - clock.now) / 1000)) : 0);
  readonly open: boolean = $derived(Boolean(this.told && (this.told.permanent || (this.told.open && this.left > 0))));
  /** From 1 to 0. */
  readonly share: number = $derived(this.told?.closes_at ? Math.min(1, (this.left * 1000) / Math.max(1, toMs(this.told.closes_at) - toMs(this.told.opened_at))) : 0);

  follow(): () => void {
    void this.load();
    return stream.read((batch) => {
      // Somebody else may open or close it.
      if (batch.some((event) => event.kind === 'notice' && !event.device)) void this.load();
    });
  }

  begin = (minutes: number): Promise<void> => this.change(() => post<Told>('/pairing', { minutes }));

  end = (): Promise<void> =>
    this.change(async () => {
      await remove('/pairing');
      return get<Told>('/pairing');
    });

  private async load(): Promise<void> {
    try {
      this.told = await get<Told>('/pairing');
    } catch {
      // Then nothing is said about it.
    }
  }

  private async change(work: () => Promise<Told>): Promise<void> {
    if (this.busy) return;
    this.busy = true;
    try {
      this.told = await work();
    } catch (error) {
      toasts.problem(error);
    } finally {
      this.busy = false;
    }
  }
}
