// Words of one part of the interface, beside its pages, so that they are fetched with them and not before.
import type { Widen } from './en';
import { language } from './words.svelte';

/** `words` follows the chosen language. Spanish and Portuguese are typed by the English: a missing one does not compile. */
export function area<T extends object>(dictionaries: { en: T; es: Widen<T>; pt: Widen<T> }): { readonly words: Widen<T> } {
  return {
    get words() {
      return dictionaries[language.code] as Widen<T>;
    },
  };
}
