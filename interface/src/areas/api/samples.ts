// One call of the API as people write it in a shell, in Python and in JavaScript.
export type Task = 'latest' | 'history' | 'telemetry' | 'command' | 'stream' | 'devices';
export type Tongue = 'curl' | 'Python' | 'JavaScript';

export const tasks: readonly Task[] = ['latest', 'history', 'telemetry', 'command', 'stream', 'devices'];
export const tongues: readonly Tongue[] = ['curl', 'Python', 'JavaScript'];

export interface Call {
  method: 'GET' | 'POST';
  /** Below `/api/v1`, with its query. */
  path: string;
  body?: Record<string, unknown>;
  /** The answer does not end. */
  endless?: boolean;
}

export function callFor(task: Task, device: string, key: string): Call {
  const of = `/devices/${encodeURIComponent(device)}`;
  switch (task) {
    case 'latest':
      return { method: 'GET', path: `${of}/latest` };
    case 'history':
      return { method: 'GET', path: `${of}/telemetry/${encodeURIComponent(key)}?points=500` };
    case 'telemetry':
      return { method: 'POST', path: `${of}/telemetry`, body: { [key]: 21.5 } };
    case 'command':
      return { method: 'POST', path: `${of}/commands?wait=5`, body: { name: 'identify', params: {}, ttl: 30 } };
    case 'stream':
      return { method: 'GET', path: `/stream?devices=${encodeURIComponent(device)}`, endless: true };
    case 'devices':
      return { method: 'GET', path: '/devices?limit=100' };
  }
}

// Inside single quotes a shell knows one special character.
const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;

function curl(origin: string, { method, path, body, endless }: Call): string {
  const parts = [`curl ${endless ? '-N ' : ''}${method === 'GET' ? '' : `-X ${method} `}${quoted(`${origin}/api/v1${path}`)}`, `-H "Authorization: Bearer $RELEVO_KEY"`];
  if (body) parts.push("-H 'Content-Type: application/json'", `-d ${quoted(JSON.stringify(body))}`);
  return parts.join(' \\\n  ');
}

/** JSON is Python but for three words. */
function python(value: unknown): string {
  if (value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (Array.isArray(value)) return `[${value.map(python).join(', ')}]`;
  if (typeof value === 'object') return `{${Object.entries(value as object).map(([name, held]) => `${JSON.stringify(name)}: ${python(held)}`).join(', ')}}`;
  return JSON.stringify(value);
}

function inPython(origin: string, { method, path, body, endless }: Call): string {
  const client = [
    'import os',
    '',
    'import httpx',
    '',
    'client = httpx.Client(',
    `    base_url=${JSON.stringify(`${origin}/api/v1`)},`,
    '    headers={"Authorization": f"Bearer {os.environ[\'RELEVO_KEY\']}"},',
    '    timeout=30,',
    ')',
  ];
  if (endless) {
    client.push(`with client.stream("GET", ${JSON.stringify(path)}, timeout=None) as answer:`, '    answer.raise_for_status()', '    for line in answer.iter_lines():', '        print(line)');
  } else {
    const more = body ? `, json=${python(body)}` : '';
    client.push(`answer = client.${method.toLowerCase()}(${JSON.stringify(path)}${more})`, 'answer.raise_for_status()', 'print(answer.json())');
  }
  return client.join('\n');
}

function inJavaScript(origin: string, { method, path, body, endless }: Call): string {
  const options = [`headers: { Authorization: \`Bearer \${process.env.RELEVO_KEY}\`${body ? ", 'Content-Type': 'application/json'" : ''} }`];
  if (method !== 'GET') options.unshift(`method: '${method}'`);
  if (body) options.push(`body: JSON.stringify(${JSON.stringify(body)})`);
  const lines = [`const answer = await fetch(${JSON.stringify(`${origin}/api/v1${path}`)}, {`, ...options.map((one) => `  ${one},`), '});', 'if (!answer.ok) throw new Error(await answer.text());'];
  if (endless) lines.push('const text = new TextDecoder();', 'for await (const part of answer.body) process.stdout.write(text.decode(part, { stream: true }));');
  else lines.push('console.log(await answer.json());');
  return lines.join('\n');
}

const writers: Record<Tongue, (origin: string, call: Call) => string> = { curl, Python: inPython, JavaScript: inJavaScript };

export const sample = (tongue: Tongue, origin: string, call: Call): string => writers[tongue](origin, call);
