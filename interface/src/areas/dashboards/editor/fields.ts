// What the options of each type of widget are asked for with, in the order of its form.
import type { Options, WidgetType } from '../shapes';

export type OptionName = keyof Options;
export interface FieldOf {
  name: OptionName;
  kind: 'text' | 'long' | 'number' | 'whole' | 'yes' | 'choice' | 'range' | 'json' | 'scalar';
  /** Of a choice; their words are among those of the field. */
  choices?: readonly string[];
  /** Asked for only then. */
  when?: (options: Options) => boolean;
}

const unit: FieldOf = { name: 'unit', kind: 'text' };
const decimals: FieldOf = { name: 'decimals', kind: 'whole' };
const range: FieldOf = { name: 'range', kind: 'range' };
const ends: FieldOf[] = [{ name: 'min', kind: 'number' }, { name: 'max', kind: 'number' }];
const step: FieldOf = { name: 'step', kind: 'number' };
const confirm: FieldOf = { name: 'confirm', kind: 'yes' };
const lastSeen: FieldOf = { name: 'last_seen', kind: 'yes' };
const desired = (options: Options) => options.mode === 'desired';
const commanded = (options: Options) => options.target === 'command';

export const FIELDS: Record<WidgetType, readonly FieldOf[]> = {
  value: [unit, decimals, { name: 'trend', kind: 'yes' }, { ...range, when: (options) => options.trend === true }],
  gauge: [...ends, { name: 'warn', kind: 'number' }, { name: 'critical', kind: 'number' }, { name: 'below', kind: 'yes' }, unit, decimals],
  chart: [
    range,
    { name: 'aggregate', kind: 'choice', choices: ['', 'mean', 'min', 'max', 'sum', 'increase', 'count', 'first', 'last', 'on'] },
    { name: 'interval', kind: 'text', when: (options) => Boolean(options.aggregate) },
    unit,
    ...ends,
  ],
  switch: [
    { name: 'mode', kind: 'choice', choices: ['switch', 'desired'] },
    { name: 'on', kind: 'scalar', when: desired },
    { name: 'off', kind: 'scalar', when: desired },
    { name: 'on_label', kind: 'text' },
    { name: 'off_label', kind: 'text' },
    confirm,
  ],
  slider: [
    ...ends,
    step,
    { name: 'target', kind: 'choice', choices: ['desired', 'command'] },
    { name: 'command', kind: 'text', when: commanded },
    { name: 'param', kind: 'text', when: commanded },
    unit,
  ],
  button: [{ name: 'command', kind: 'text' }, { name: 'params', kind: 'json' }, { name: 'label', kind: 'text' }, confirm],
  status: [lastSeen],
  text: [{ name: 'text', kind: 'long' }],
  picture: [],
  table: [lastSeen],
  alerts: [{ name: 'severity', kind: 'choice', choices: ['info', 'warning', 'critical'] }, { name: 'acknowledged', kind: 'yes' }, { name: 'limit', kind: 'whole' }],
  countdown: [],
  pin: [
    { name: 'virtual_pin', kind: 'text' },
    { name: 'shown', kind: 'choice', choices: ['value', 'switch', 'slider'] },
    ...[...ends, step].map((one): FieldOf => ({ ...one, when: (options) => options.shown === 'slider' })),
    unit,
  ],
};

export const RANGES = ['30m', '1h', '6h', '24h', '7d', '30d', '12w', '52w'] as const;
/** What has one device, and what has one of its keys. */
export const OF_DEVICE: ReadonlySet<WidgetType> = new Set<WidgetType>(['value', 'gauge', 'switch', 'slider', 'button', 'status', 'pin']);
export const OF_KEY: ReadonlySet<WidgetType> = new Set<WidgetType>(['value', 'gauge', 'switch', 'slider']);
