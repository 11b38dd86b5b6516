// Every page's address. A page is shown at its pattern by the entry of the same name in shell/pages.ts.
const BASE = '/ui';

export const addresses = {
  home: '/',
  devices: '/devices',
  device: '/device/:id/:tab?',
  dashboards: '/dashboards',
  dashboard: '/dashboard/:id',
  wall: '/wall/:token',
  alerts: '/alerts',
  rules: '/rules',
  rule: '/rule/:id',
  schedules: '/schedules',
  schedule: '/schedule/:id',
  join: '/join/:way?',
  claim: '/claim',
  water: '/water/:tab?',
  files: '/files',
  notifications: '/notifications/:tab?',
  newRollout: '/firmware/new',
  rollout: '/firmware/rollouts/:id',
  firmware: '/firmware',
  webhooks: '/webhooks',
  webhook: '/webhook/:id',
  people: '/people/:name?',
  account: '/account',
  brokers: '/brokers/:kind?',
  audit: '/audit',
  system: '/system/:tab?',
  api: '/api',
  door: '/door',
  signin: '/signin',
} as const;

export type PageName = keyof typeof addresses;
export type Params = Record<string, string>;

/** The address of a page; parameters without a place in its pattern become its query. */
export function pathTo(page: PageName, params: Params = {}): string {
  const query = new URLSearchParams();
  const left = new Set(Object.keys(params));
  const parts = addresses[page].split('/').filter(Boolean).flatMap((part) => {
    if (!part.startsWith(':')) return [part];
    const name = part.replace(/[:?]/g, '');
    left.delete(name);
    return params[name] ? [encodeURIComponent(params[name])] : [];
  });
  for (const name of left) if (params[name]) query.set(name, params[name]);
  const text = query.toString();
  return `${BASE}/${parts.join('/')}${text ? `?${text}` : ''}`;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function fit(pattern: string, path: string[]): Params | null {
  const wanted = pattern.split('/').filter(Boolean);
  if (path.length > wanted.length) return null;
  const params: Params = {};
  for (const [i, part] of wanted.entries()) {
    const given = path[i];
    if (part.startsWith(':')) {
      if (given !== undefined) params[part.replace(/[:?]/g, '')] = decode(given);
      else if (!part.endsWith('?')) return null;
    } else if (part !== given) return null;
  }
  return params;
}

/** The page at an address of this interface, and what its pattern names. */
export function pageAt(path: string): { page: PageName | 'missing'; params: Params } {
  const parts = path.slice(BASE.length).split('/').filter(Boolean);
  for (const [name, pattern] of Object.entries(addresses)) {
    const params = fit(pattern, parts);
    if (params) return { page: name as PageName, params };
  }
  return { page: 'missing', params: {} };
}

export const isOurs = (path: string): boolean => path.startsWith(`${BASE}/`);
