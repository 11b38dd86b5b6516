import { stream } from './stream.svelte';

const WINDOW_S = 5;

/** Readings per second over the last few seconds; one second alone flickers. */
class Rate {
  perSecond: number = $state(0);
  private counts: number[] = [];
  private current = 0;

  start(): void {
    stream.read((batch) => {
      for (const event of batch) if (event.kind === 'telemetry') this.current += 1;
    });
    setInterval(() => {
      this.counts.push(this.current);
      this.current = 0;
      if (this.counts.length > WINDOW_S) this.counts.shift();
      this.perSecond = this.counts.reduce((sum, n) => sum + n, 0) / this.counts.length;
    }, 1000);
  }
}

export const rate = new Rate();
