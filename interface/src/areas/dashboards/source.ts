// What widgets are told, whoever tells it: the session's API and stream, or a wall's.
import { getContext, setContext } from 'svelte';
import type { Latest, Value, Values } from '../../live/shapes';
import type { AlertBrief } from './shapes';
import type { Wishes } from '../../live/wishes.svelte';

export interface Seen {
  readonly id: string;
  readonly title: string;
  readonly online: boolean;
  readonly lastSeen: number;
  readonly latest: Record<string, Latest>;
}

export interface Question {
  from: number;
  points?: number;
  aggregate?: string;
  interval?: string;
}

export interface Answer {
  points?: [number, Value][];
  gaps?: [number, number][];
  from?: number[];
  values?: Record<string, (number | null)[]>;
}

export type Hearer = (device: string, ts: number, values: Values) => void;

export interface Source {
  /** Null for a device that is gone or not to be seen, undefined while it is on its way. */
  device(id: string): Seen | null | undefined;
  tagged(tag: string): readonly Seen[];
  points(device: string, key: string, question: Question, signal: AbortSignal): Promise<Answer>;
  picture(id: string): string;
  readonly alerts: readonly AlertBrief[];
  /** What was asked of a device; nothing where nothing may be asked. */
  wishes(device: string): Wishes | undefined;
  mayAct(device: string): boolean;
  hear(hearer: Hearer): () => void;
}

const KEY = Symbol('source');
export const provide = (source: Source): Source => setContext(KEY, source);
export const useSource = (): Source => getContext<Source>(KEY);
