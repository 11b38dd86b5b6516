import { ApiError, get } from '../../live/api';
import { keepUp } from '../../live/keeping';
import type { LiveEvent } from '../../live/shapes';
import { problemOf } from '../../live/submission.svelte';
import type { Rollout } from './shapes';

const REST_MS = 700;
const LOOK_EVERY_MS = 15_000;

/** Whether an event is about the roll-out `id`. */
export const isAbout = (event: LiveEvent, id: string): boolean => (event.kind === 'update' || event.kind === 'rollout') && event.rollout === id;

/** One roll-out as the server counts it: asked for again when one of its boards or it itself came further. */
export class Following {
  rollout: Rollout | null = $state.raw(null);
  problem = $state('');
  missing = $state(false);

  constructor(readonly id: string) {}

  /** Follows until the returned function is called. */
  follow(): () => void {
    void this.load();
    // How far a download is changes no count.
    const told = (event: LiveEvent) => isAbout(event, this.id) && !(event.kind === 'update' && event.change === 'downloading');
    const events = keepUp(() => void this.load(), { told, restMs: REST_MS });
    // When a pause between two waves begins is told by nobody.
    const every = setInterval(() => {
      if (!document.hidden && this.rollout?.state === 'running') void this.load();
    }, LOOK_EVERY_MS);
    return () => {
      events();
      clearInterval(every);
    };
  }

  async load(): Promise<void> {
    try {
      this.rollout = await get<Rollout>(`/rollouts/${encodeURIComponent(this.id)}`);
      this.problem = '';
    } catch (error) {
      this.missing = error instanceof ApiError && error.status === 404;
      if (!this.rollout || this.missing) this.problem = problemOf(error);
    }
  }
}
