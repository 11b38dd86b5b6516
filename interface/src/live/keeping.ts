import type { LiveEvent } from './shapes';
import { stream } from './stream.svelte';

export interface Keeping {
  /** Whether an event is one after which the server may answer differently. */
  told?: (event: LiveEvent) => boolean;
  /** Events that follow each other within so many milliseconds are one reason to ask. */
  restMs?: number;
  /** Asked every so often where the stream does not tell everything; not while nobody looks. */
  everyMs?: number;
}

/**
 * Calls `again` whenever what is shown may be old: when the stream tells of it, when the stream had to be followed anew,
 * and every `everyMs`. Until the returned function is called.
 */
export function keepUp(again: () => void, { told, restMs = 0, everyMs = 0 }: Keeping): () => void {
  let resting: ReturnType<typeof setTimeout> | undefined;
  const soon = (): void => {
    if (!restMs) return again();
    resting ??= setTimeout(() => {
      resting = undefined;
      again();
    }, restMs);
  };
  const reading = told && stream.read((batch) => batch.some(told) && soon());
  const stale = stream.whenStale(again);
  const every = everyMs ? setInterval(() => document.hidden || again(), everyMs) : undefined;
  return () => {
    reading?.();
    stale();
    clearTimeout(resting);
    clearInterval(every);
  };
}
