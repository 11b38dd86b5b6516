// A dashboard while somebody arranges it: every step can be taken back, and nothing is kept before it is saved.
import { freePlace, settle, SIZES } from '../layout';
import { kept, type Board, type Options, type Widget, type WidgetType } from '../shapes';

interface Step {
  name: string;
  widgets: Widget[];
}

const MOST_STEPS = 200;

/** What a new widget of a type says before somebody says more. */
const FIRST: Record<WidgetType, Options> = {
  value: { unit: '', decimals: null, trend: false, range: '24h' },
  gauge: { min: 0, max: 100, warn: null, critical: null, below: false, unit: '', decimals: null },
  chart: { series: [], range: '24h', aggregate: '', interval: '', unit: '', min: null, max: null },
  switch: { mode: 'switch', on: true, off: false, on_label: '', off_label: '', confirm: false },
  slider: { min: 0, max: 100, step: 1, target: 'desired', command: '', param: '', unit: '' },
  button: { command: '', params: {}, label: '', confirm: false },
  status: { last_seen: true },
  text: { text: '' },
  picture: { picture: '', pins: [] },
  table: { devices: [], tag: '', keys: [], last_seen: true },
  alerts: { severity: 'info', devices: [], acknowledged: true, limit: 10 },
  countdown: { relay: null, schedule: '' },
  pin: { virtual_pin: 'v0', shown: 'value', min: 0, max: 100, step: 1, unit: '' },
};

export class Editing {
  now: Step = $state.raw()!;
  version = $state(0);
  private past: Step[] = $state.raw([]);
  private future: Step[] = $state.raw([]);
  private saved: Step = $state.raw()!;

  constructor(board: Board) {
    this.version = board.version;
    this.now = this.saved = { name: board.name, widgets: settle(board.widgets) };
  }

  get canUndo(): boolean {
    return this.past.length > 0;
  }

  get canRedo(): boolean {
    return this.future.length > 0;
  }

  get dirty(): boolean {
    return this.now !== this.saved;
  }

  /** As it is sent: in the order in which one reads. */
  body(): { name: string; widgets: Widget[] } {
    return { name: this.now.name.trim(), widgets: this.now.widgets.map(kept) };
  }

  arrange(widgets: Widget[]): void {
    const same = widgets.length === this.now.widgets.length && widgets.every((one, i) => one === this.now.widgets[i]);
    if (!same) this.step({ ...this.now, widgets });
  }

  rename(name: string): void {
    if (name !== this.now.name) this.step({ ...this.now, name });
  }

  fresh(type: WidgetType): Widget {
    const [w, h] = SIZES[type];
    const used = new Set(this.now.widgets.map((one) => one.id));
    let n = 1;
    while (used.has(`w${n}`)) n += 1;
    return { id: `w${n}`, type, title: '', device: '', key: '', options: structuredClone(FIRST[type]), ...freePlace(this.now.widgets, w, h) };
  }

  put(widget: Widget): void {
    const known = this.now.widgets.some((one) => one.id === widget.id);
    this.arrange(settle(known ? this.now.widgets.map((one) => (one.id === widget.id ? widget : one)) : [...this.now.widgets, widget]));
  }

  remove(id: string): void {
    this.arrange(settle(this.now.widgets.filter((one) => one.id !== id)));
  }

  undo(): void {
    const before = this.past.at(-1);
    if (!before) return;
    this.past = this.past.slice(0, -1);
    this.future = [this.now, ...this.future];
    this.now = before;
  }

  redo(): void {
    const after = this.future[0];
    if (!after) return;
    this.future = this.future.slice(1);
    this.past = [...this.past, this.now];
    this.now = after;
  }

  private step(next: Step): void {
    this.past = [...this.past, this.now].slice(-MOST_STEPS);
    this.future = [];
    this.now = next;
  }
}
