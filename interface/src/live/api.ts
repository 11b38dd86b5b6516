import { clock } from './clock.svelte';

/** What is wrong with one field of what was sent, as the server names it (RFC 9457, `errors`). */
export interface FieldProblem {
  field: string;
  message: string;
}

export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly fields: FieldProblem[] = [],
    /** The whole answer, for those who need more of it. */
    readonly body: Record<string, unknown> = {},
  ) {
    super(message);
  }
}

export type Query = Record<string, string | number | boolean | readonly string[] | undefined>;
interface Options {
  /** The contracts' own paths are beside the API's. */
  root?: '' | '/api/v1';
  query?: Query;
  body?: unknown;
  signal?: AbortSignal;
}

let onUnauthorized: () => void = () => {};

/** The session listens here, so that this file need not know what a session is. */
export function whenUnauthorized(listener: () => void): void {
  onUnauthorized = listener;
}

/** The address of what the API has at `path`, for links and downloads. */
export function address(path: string, query: Query = {}, root = '/api/v1'): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (Array.isArray(value)) for (const one of value as readonly string[]) parameters.append(name, one);
    else if (value !== undefined && value !== '') parameters.set(name, String(value));
  }
  const text = parameters.toString();
  return `${root}${path}${text ? `?${text}` : ''}`;
}

async function problemOf(response: Response): Promise<ApiError> {
  const line = `${response.status} ${response.statusText}`.trim();
  try {
    const body = (await response.json()) as Record<string, unknown>;
    const told = [body.detail, body.error, body.title].find((one) => typeof one === 'string');
    const fields = Array.isArray(body.errors) ? (body.errors as FieldProblem[]) : [];
    return new ApiError(response.status, (told as string | undefined) ?? line, fields, body);
  } catch {
    // A proxy in between answers with a page of its own; the status line has to do.
    return new ApiError(response.status, line);
  }
}

async function call<T>(method: string, path: string, { root, query, body, signal }: Options = {}): Promise<T> {
  const response = await fetch(address(path, query, root), {
    method,
    credentials: 'same-origin',
    headers: { accept: 'application/json', ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    ...(signal ? { signal } : {}),
  });
  clock.observe(response.headers.get('date'));
  if (!response.ok) {
    if (response.status === 401 && path !== '/auth/login') onUnauthorized();
    throw await problemOf(response);
  }
  const text = await response.text();
  return (text ? JSON.parse(text) : null) as T;
}

export const get = <T>(path: string, query?: Query, signal?: AbortSignal): Promise<T> =>
  call<T>('GET', path, { ...(query ? { query } : {}), ...(signal ? { signal } : {}) });

export const post = <T>(path: string, body: unknown = {}, query: Query = {}): Promise<T> => call<T>('POST', path, { body, query });
export const put = <T>(path: string, body: unknown): Promise<T> => call<T>('PUT', path, { body });
export const patch = <T>(path: string, body: unknown): Promise<T> => call<T>('PATCH', path, { body });
export const remove = <T = null>(path: string, query: Query = {}): Promise<T> => call<T>('DELETE', path, { query });

/** A path of one of the contracts, such as `/api/sensors/`. */
export const ofContract = <T>(method: 'GET' | 'POST', path: string, options: { query?: Query; body?: unknown } = {}): Promise<T> =>
  call<T>(method, path, { ...options, root: '' });
