import { post } from '../../live/api';
import { toMs, type Values } from '../../live/shapes';
import { Submission } from '../../live/submission.svelte';

export interface Firing {
  device: string;
  begin: number;
  /** Still so at the end when null. */
  end: number | null;
  values: Values;
}

interface Answer {
  through: string;
  whole: boolean;
  events: number;
  devices: number;
  count: number;
  firings: { device: string; since: string; begin: string; end: string | null; values: Values }[];
}

/** What a rule that need not be kept would have done, asked once more whenever somebody wants to know. */
export class Backtest {
  readonly asking = new Submission();
  answer: Answer | null = $state.raw(null);
  firings: Firing[] = $state.raw([]);
  rangeMs = $state(0);

  async run(rule: object, now: number, rangeMs: number): Promise<void> {
    const found = await this.asking.run(() => post<Answer>('/rules/backtest', { rule, from: String(Math.round(now - rangeMs)) }));
    this.answer = found ?? null;
    this.rangeMs = rangeMs;
    this.firings = (found?.firings ?? []).map((one) => ({ device: one.device, begin: toMs(one.begin), end: one.end === null ? null : toMs(one.end), values: one.values }));
  }
}
