// How often what comes in is handed on. A single event is shown with the next frame; where many come, ten times a second
// is as much as anybody can follow, and each time costs the browser a new picture of the page.
const BUSY_PER_SECOND = 100;
const BUSY_INTERVAL_MS = 100;
const WEIGHT = 0.3;

export class Pace {
  private last = 0;
  private rate = 0;

  /** Notes that `count` events were handed on now. */
  flushed(count: number): void {
    const now = performance.now();
    const rate = (count * 1000) / Math.max(1, now - this.last);
    this.rate += WEIGHT * (rate - this.rate);
    this.last = now;
  }

  /** Milliseconds to wait before more is handed on, 0 for the next frame. */
  rest(): number {
    return this.rate > BUSY_PER_SECOND ? Math.max(0, this.last + BUSY_INTERVAL_MS - performance.now()) : 0;
  }
}
