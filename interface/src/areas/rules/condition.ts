// The condition of a rule as the server has it: an object of one member, the kind, that holds what belongs to it.
import { reading, unitFor } from '../../live/format.svelte';
import type { Value } from '../../live/shapes';
import { labelOf } from '../../words/codes';
import type { Words } from '../../words/en';
import { DAYS, daysText, lasting, type Action, type Scope } from '../automation/documents';
import type { AutomationWords } from '../automation/words';
import type { RulesWords } from './words';

export const LEAVES = ['value', 'absent', 'presence', 'changed', 'rate', 'between', 'state', 'expression'] as const;
export const GROUPS = ['all', 'any', 'not'] as const;
export type Leaf = (typeof LEAVES)[number];
export type Kind = Leaf | (typeof GROUPS)[number];
export const OPS = ['>', '>=', '<', '<=', '==', '!='] as const;
export type Op = (typeof OPS)[number];
export type Body = Record<string, Value>;
export type Node = { [kind: string]: Value };

export interface RuleInfo {
  id: string;
  name: string;
  owner: string;
  enabled: boolean;
  stopped: string;
  condition: Node;
  scope: Scope;
  actions: Action[];
  clear_actions: Action[];
  cooldown_s: number;
  late_limit_s: number;
  true_of: string[];
  last_fired: string | null;
}

export function kindOf(node: Node): Kind {
  return (Object.keys(node)[0] ?? 'value') as Kind;
}

export const bodyOf = (node: Node): Body => (node[kindOf(node)] ?? {}) as Body;
export const partsOf = (node: Node): Node[] => (node.all ?? node.any ?? (node.not ? [node.not] : [])) as Node[];

export function fresh(kind: Kind, key = ''): Node {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';
  const bodies: Record<Kind, Value> = {
    value: { key, op: '>', than: 0 },
    rate: { key, per_s: 60, op: '>', than: 1 },
    absent: { key: '', for_s: 600 },
    changed: { key },
    presence: { online: false, for_s: 60 },
    state: { path: '', equals: true },
    between: { from: '22:00', to: '06:00', zone, days: [...DAYS] },
    expression: { text: '', for_s: 0 },
    all: [{ value: { key, op: '>', than: 0 } }],
    any: [{ value: { key, op: '>', than: 0 } }],
    not: { value: { key, op: '>', than: 0 } },
  };
  return { [kind]: bodies[kind] };
}

/** The keys that a condition compares, in order of appearance. */
export function keysOf(node: Node): string[] {
  const parts = partsOf(node);
  if (parts.length) return [...new Set(parts.flatMap(keysOf))];
  const key = bodyOf(node).key;
  return typeof key === 'string' && key ? [key] : [];
}

/** The limit that may be drawn for `key`, when there is just one. */
export function limitOf(node: Node, key: string): number | null {
  const found: number[] = [];
  (function look(one: Node): void {
    const body = bodyOf(one);
    if (kindOf(one) === 'value' && body.key === key && typeof body.than === 'number') found.push(body.than);
    partsOf(one).forEach(look);
  })(node);
  return found.length === 1 ? found[0]! : null;
}

function valueText(key: string, value: Value | undefined): string {
  return `${reading(key, value)} ${unitFor(key, value)}`.trimEnd();
}

/** A condition as a part of a sentence. */
export function conditionText(words: RulesWords, shared: AutomationWords, all: Words, node: Node): string {
  const say = words.said;
  const told = (one: Node) => conditionText(words, shared, all, one);
  const kind = kindOf(node);
  const body = bodyOf(node);
  const what = typeof body.key === 'string' ? labelOf(all, body.key) : '';
  const long = (text: string) => (Number(body.for_s) > 0 ? say.lasting(text, lasting(body.for_s)) : text);
  switch (kind) {
    case 'value':
      return long(say[body.op as Op](what, valueText(String(body.key), body.than)));
    case 'rate':
      return say.rate(what, valueText(String(body.key), body.than), lasting(body.per_s), String(body.op));
    case 'absent':
      return body.key ? say.absentKey(what, lasting(body.for_s)) : say.absent(lasting(body.for_s));
    case 'changed':
      return say.changed(what);
    case 'presence':
      return long(body.online ? say.online : say.offline);
    case 'state':
      return say.state(String(body.path), valueText('', body.equals));
    case 'between':
      return say.between(String(body.from), String(body.to), daysText(shared, (body.days as string[] | undefined) ?? DAYS));
    case 'expression':
      return long(String(body.text));
    case 'all':
    case 'any': {
      const join = kind === 'all' ? say.and : say.or;
      // A group within a group keeps its own together.
      const parts = partsOf(node).map((one) => (['all', 'any'].includes(kindOf(one)) ? `(${told(one)})` : told(one)));
      return parts.length ? parts.reduce((first, second) => join(first, second)) : '';
    }
    case 'not':
      return say.not(partsOf(node).map(told).join());
    default:
      return JSON.stringify(node);
  }
}

/** What a person typed as a value to compare with: a number, true, false, or a text. */
export function scalarOf(text: string): Value {
  const trimmed = text.trim();
  if (trimmed === 'true' || trimmed === 'false') return trimmed === 'true';
  const read = Number(trimmed.replace(',', '.'));
  return trimmed !== '' && Number.isFinite(read) ? read : trimmed;
}
