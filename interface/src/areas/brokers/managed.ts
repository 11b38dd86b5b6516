// What operators of contract emqx manage, as its own paths have it (docs/emqx.md): a table of fields for each kind.
import { ApiError } from '../../live/api';
import type { brokersWords } from './words';

export type Kind = 'brokers' | 'topics' | 'credentials' | 'device-config' | 'emqx-acl' | 'sensors';
export type FieldName = keyof (typeof brokersWords)['words']['fields'];
export type Row = Record<string, unknown> & { id: number };

export interface FieldKind {
  name: FieldName;
  as: 'text' | 'long' | 'secret' | 'number' | 'switch' | 'choice' | 'device' | 'broker' | 'topic' | 'topics';
  required?: boolean;
  least?: number;
  most?: number;
  choices?: readonly (string | number)[];
  /** What a new one begins with. */
  begin?: unknown;
  /** A number that need not be there. */
  empty?: boolean;
}

export const kinds: Record<Kind, { path: string; title: (row: Row) => string; told: (row: Row) => string; fields: readonly FieldKind[] }> = {
  brokers: {
    path: '/api/mqtt/brokers/',
    title: (row) => String(row.nombre),
    told: (row) => `${String(row.protocol)}://${String(row.host)}:${String(row.port)}`,
    fields: [
      { name: 'nombre', as: 'text', required: true, most: 100 },
      { name: 'host', as: 'text', required: true, most: 255 },
      { name: 'port', as: 'number', least: 1, most: 65535, begin: 1883 },
      { name: 'protocol', as: 'choice', choices: ['mqtt', 'mqtts', 'ws', 'wss'], begin: 'mqtt' },
      { name: 'username', as: 'text', most: 100 },
      { name: 'password', as: 'secret', most: 255 },
      { name: 'keepalive', as: 'number', least: 10, most: 3600, begin: 60 },
      { name: 'clean_session', as: 'switch', begin: true },
      { name: 'use_tls', as: 'switch', begin: false },
      { name: 'ca_cert', as: 'long' },
      { name: 'is_active', as: 'switch', begin: true },
    ],
  },
  topics: {
    path: '/api/mqtt/topics/',
    title: (row) => String(row.nombre),
    told: (row) => String(row.topic_pattern),
    fields: [
      { name: 'nombre', as: 'text', required: true, most: 100 },
      { name: 'topic_pattern', as: 'text', required: true, most: 255 },
      { name: 'tipo', as: 'choice', choices: ['publish', 'subscribe', 'both'], begin: 'publish' },
      { name: 'qos', as: 'choice', choices: [0, 1, 2], begin: 1 },
      { name: 'retain', as: 'switch', begin: false },
      { name: 'descripcion', as: 'text', most: 1024 },
    ],
  },
  credentials: {
    path: '/api/mqtt/credentials/',
    title: (row) => String(row.dispositivo_nombre || row.client_id),
    told: (row) => [row.client_id, row.username].filter(Boolean).join(' · '),
    fields: [
      { name: 'dispositivo', as: 'device', required: true },
      { name: 'client_id', as: 'text', required: true, most: 100 },
      { name: 'username', as: 'text', most: 100 },
      { name: 'password', as: 'secret', most: 255 },
      { name: 'use_device_cert', as: 'switch', begin: false },
      { name: 'client_cert', as: 'long' },
      { name: 'client_key', as: 'secret' },
      { name: 'is_active', as: 'switch', begin: true },
    ],
  },
  'device-config': {
    path: '/api/mqtt/device-config/',
    title: (row) => String(row.dispositivo_nombre),
    told: (row) => [row.broker_nombre, row.publish_topic_nombre].filter(Boolean).join(' · '),
    fields: [
      { name: 'dispositivo', as: 'device', required: true },
      { name: 'broker', as: 'broker', required: true },
      { name: 'publish_topic', as: 'topic' },
      { name: 'subscribe_topics', as: 'topics', begin: [] },
      { name: 'publish_interval', as: 'number', least: 1, most: 86400, begin: 60 },
      { name: 'qos', as: 'choice', choices: [0, 1, 2], begin: 1 },
      { name: 'auto_reconnect', as: 'switch', begin: true },
      { name: 'is_active', as: 'switch', begin: true },
    ],
  },
  'emqx-acl': {
    path: '/api/mqtt/emqx-acl/',
    title: (row) => String(row.topic),
    told: (row) => String(row.dispositivo_nombre ?? ''),
    fields: [
      { name: 'dispositivo', as: 'device', required: true },
      { name: 'topic', as: 'text', required: true, most: 255 },
      { name: 'action', as: 'choice', choices: ['publish', 'subscribe', 'all'], begin: 'all' },
      { name: 'permission', as: 'choice', choices: ['allow', 'deny'], begin: 'allow' },
      { name: 'is_active', as: 'switch', begin: true },
    ],
  },
  sensors: {
    path: '/api/sensors/',
    title: (row) => String(row.nombre),
    told: (row) => [row.tipo, row.unidad_medida, row.mqtt_topic_suffix].filter(Boolean).join(' · '),
    fields: [
      { name: 'nombre', as: 'text', required: true, most: 100 },
      { name: 'tipo', as: 'text', required: true, most: 50 },
      { name: 'unidad_medida', as: 'text', most: 32 },
      { name: 'mqtt_topic_suffix', as: 'text', most: 64 },
      { name: 'rango_min', as: 'number', empty: true },
      { name: 'rango_max', as: 'number', empty: true },
      { name: 'estado', as: 'choice', choices: ['activo', 'inactivo', 'mantenimiento'], begin: 'activo' },
      { name: 'publish_interval', as: 'number', least: 1, most: 86400, begin: 60 },
    ],
  },
};

/** One call of that contract; what it has against a field becomes a problem of that field. */
export async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  const answer = await fetch(path, {
    method,
    credentials: 'same-origin',
    headers: { accept: 'application/json', ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  const found: unknown = text ? JSON.parse(text) : null;
  if (answer.ok) return found as T;
  const told = (found ?? {}) as Record<string, unknown>;
  const whole = told.detail ?? told.error ?? (Array.isArray(told.non_field_errors) ? told.non_field_errors[0] : undefined);
  const fields = Object.entries(told)
    .filter(([name, texts]) => Array.isArray(texts) && name !== 'non_field_errors')
    .map(([field, texts]) => ({ field, message: (texts as string[]).join(' ') }));
  throw new ApiError(answer.status, typeof whole === 'string' ? whole : (fields[0]?.message ?? `${answer.status}`), fields);
}

interface Paged {
  count: number;
  next: string | null;
  results: Row[];
}

/** All rows of a list, page after page. */
export async function all(path: string, search = ''): Promise<Row[]> {
  const rows: Row[] = [];
  for (let page = 1; ; page += 1) {
    const found = await call<Paged>('GET', `${path}?page=${page}${search ? `&search=${encodeURIComponent(search)}` : ''}`);
    rows.push(...found.results);
    if (!found.next) return rows;
  }
}
