import { en, type Words } from './en';
import { es } from './es';
import { pt } from './pt';
import { recall, remember } from '../live/memory';

const dictionaries = { en, es, pt } as const;
export type LanguageCode = keyof typeof dictionaries;
export const languages = Object.keys(dictionaries) as LanguageCode[];

function isLanguage(code: string | null | undefined): code is LanguageCode {
  return code != null && code in dictionaries;
}

function firstChoice(): LanguageCode {
  const kept = recall('language');
  if (isLanguage(kept)) return kept;
  for (const tag of navigator.languages) {
    const code = tag.slice(0, 2).toLowerCase();
    if (isLanguage(code)) return code;
  }
  return 'en';
}

class Language {
  code: LanguageCode = $state(firstChoice());
  words: Words = $derived(dictionaries[this.code]);

  // The browser's regional variant carries date and number habits (es-MX is not es-ES), so it wins when it fits.
  locale: string = $derived(navigator.languages.find((tag) => tag.slice(0, 2).toLowerCase() === this.code) ?? this.code);

  nameOf(code: LanguageCode): string {
    return dictionaries[code].languageName;
  }

  choose(code: LanguageCode): void {
    this.code = code;
    remember('language', code);
  }
}

export const language = new Language();
