// What the server says of dashboards, walls and pictures.
import type { Value } from '../../live/shapes';

export const TYPES = ['value', 'gauge', 'chart', 'switch', 'slider', 'button', 'status', 'text', 'picture', 'table', 'alerts', 'countdown', 'pin'] as const;
export type WidgetType = (typeof TYPES)[number];
export type Severity = 'info' | 'warning' | 'critical';

export interface Line {
  device: string;
  key: string;
  label: string;
  unit: string;
  color: string;
}

export interface Pin {
  x: number;
  y: number;
  device: string;
  key: string;
  label: string;
  unit: string;
  decimals: number | null;
}

/** What the types may say, together; each type has some of it. */
export interface Options {
  unit?: string;
  decimals?: number | null;
  trend?: boolean;
  range?: string;
  virtual_pin?: string;
  min?: number | null;
  max?: number | null;
  warn?: number | null;
  critical?: number | null;
  below?: boolean;
  series?: Line[];
  aggregate?: string;
  interval?: string;
  mode?: 'switch' | 'desired';
  on?: Value;
  off?: Value;
  on_label?: string;
  off_label?: string;
  confirm?: boolean;
  step?: number | null;
  target?: 'desired' | 'command';
  command?: string;
  param?: string;
  params?: Record<string, Value>;
  label?: string;
  last_seen?: boolean;
  text?: string;
  picture?: string;
  pins?: Pin[];
  devices?: string[];
  tag?: string;
  keys?: string[];
  severity?: Severity;
  acknowledged?: boolean;
  limit?: number | null;
  relay?: number | null;
  schedule?: string;
  shown?: 'value' | 'switch' | 'slider';
}

export interface Place {
  x: number;
  y: number;
  w: number;
  h: number;
}

export interface Widget extends Place {
  id: string;
  type: WidgetType;
  title: string;
  device: string;
  key: string;
  options: Options;
  /** What becomes of it for the one who asks. */
  visible?: boolean;
  missing?: boolean;
  hidden?: string[];
  gone?: string[];
  due_at?: string | null;
}

export interface Share {
  user: string;
  right: 'view' | 'edit';
}

export interface WallInfo {
  id: string;
  name: string;
  created_at: string | null;
  expires_at: string | null;
}

export interface WallMade extends WallInfo {
  token: string;
  url: string;
}

export interface Board {
  id: string;
  contract: 'native' | 'thingsnxt';
  name: string;
  owner: string;
  right: 'own' | 'edit' | 'view';
  version: number;
  widget_count: number;
  widgets: Widget[];
  shared: Share[];
  walls: WallInfo[];
  created_at: string | null;
  changed_at: string | null;
}

export interface Template {
  type: string;
  name: string;
  widgets: Widget[];
  by: string;
  changed_at: string | null;
}

export interface PictureInfo {
  id: string;
  width: number;
  height: number;
  size: number;
  created_at: string | null;
  url: string;
}

export interface AlertBrief {
  device: string;
  severity: Severity;
  state: string;
  text: string;
  opened: string | null;
}

/** A widget as it is kept, without what it becomes for the one who asks. */
export function kept({ id, type, title, x, y, w, h, device, key, options }: Widget): Widget {
  return { id, type, title, x, y, w, h, device, key, options };
}

/** The devices that a widget names. */
export function devicesOf(widget: Widget): string[] {
  const { series = [], pins = [], devices = [] } = widget.options;
  return [...new Set([widget.device, ...series.map((one) => one.device), ...pins.map((one) => one.device), ...devices])].filter(Boolean);
}

/** The key of its own device that a widget shows and steers, empty for none. */
export const keyOf = (widget: Widget): string => widget.options.virtual_pin || widget.key;

const UNIT_MS: Record<string, number> = { m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

/** A length of time such as `24h`, in milliseconds. */
export const spanMs = (text: string): number => (Number(text.slice(0, -1)) || 24) * (UNIT_MS[text.slice(-1)] ?? 3_600_000);
