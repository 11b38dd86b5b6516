import { measureOf } from '../live/measures';
import type { Words } from './en';

// The server's codes are open-ended; one that has no translation yet is shown as plain words, never hidden.
function plain(code: string): string {
  return code.replaceAll('_', ' ');
}

export function reasonText(words: Words, code: string): string {
  return Object.hasOwn(words.reasons, code) ? words.reasons[code as keyof Words['reasons']] : plain(code);
}

export function kindText(words: Words, code: string): string {
  if (Object.hasOwn(words.kinds, code)) return words.kinds[code as keyof Words['kinds']];
  const text = plain(code);
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** A key in the reader's language where it is a common one, otherwise as the device spells it, only tidier. */
export function labelOf(words: Words, key: string): string {
  const { stem, ordinal, label } = measureOf(key);
  if (!Object.hasOwn(words.measures, stem)) return label;
  const name = words.measures[stem as keyof Words['measures']];
  return ordinal ? `${name} ${ordinal}` : name;
}
