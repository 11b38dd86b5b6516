import { ApiError, post } from './api';
import { toMs, type Value } from './shapes';

export type Op = '>' | '<' | '==';

export interface Span {
  from: number;
  /** Still so at the end when null. */
  to: number | null;
}

interface Answer {
  through: string;
  whole: boolean;
  count: number;
  firings: { begin: string; end: string | null; values: Record<string, Value> }[];
}

/** One condition about one key of one device: tried on what was stored, then kept as a rule. */
export class Trial {
  state: 'new' | 'trying' | 'tried' | 'failed' = $state('new');
  kept: 'no' | 'keeping' | 'yes' = $state('no');
  problem = $state('');
  count = $state(0);
  whole = $state(true);
  spans: Span[] = $state.raw([]);

  constructor(
    readonly device: string,
    readonly key: string,
    readonly op: Op,
    readonly than: number | boolean,
    readonly forS: number,
  ) {}

  private get condition(): object {
    return { value: { key: this.key, op: this.op, than: this.than, ...(this.forS ? { for_s: this.forS } : {}) } };
  }

  private rule(name: string, text: string): object {
    const actions = [{ alert: { severity: 'warning', text } }];
    return { name, condition: this.condition, scope: { devices: [this.device] }, actions };
  }

  async run(from: number): Promise<void> {
    this.state = 'trying';
    try {
      const rule = this.rule('trial', 'trial');
      // To this moment by the server's clock; this one may be behind it.
      const found = await post<Answer>('/rules/backtest', { rule, from: String(Math.round(from)) });
      this.spans = found.firings.map((one) => ({ from: toMs(one.begin), to: one.end === null ? null : toMs(one.end) }));
      this.count = found.count;
      this.whole = found.whole;
      this.state = 'tried';
    } catch (error) {
      this.problem = error instanceof ApiError ? error.message : '';
      this.state = 'failed';
    }
  }

  async keep(name: string, text: string): Promise<void> {
    this.kept = 'keeping';
    try {
      await post('/rules', this.rule(name.slice(0, 128), text));
      this.kept = 'yes';
    } catch (error) {
      this.problem = error instanceof ApiError ? error.message : '';
      this.kept = 'no';
      this.state = 'failed';
    }
  }
}
