// What a person chose, kept on the server, so that the telephone knows what was chosen at the desk.
import { get, patch } from './api';
import { theme, themeChoices, type ThemeChoice } from './theme.svelte';
import { toasts } from './toasts.svelte';
import { language, languages, type LanguageCode } from '../words/words.svelte';

export interface Kept {
  language: string;
  theme: string;
  favourites: string[];
}

const MOST_FAVOURITES = 100;

class Preferences {
  favourites: string[] = $state.raw([]);
  private loaded = false;

  async load(): Promise<void> {
    try {
      const kept = await get<Kept>('/me/preferences');
      this.favourites = kept.favourites;
      const code = languages.find((one) => one === kept.language);
      if (code) language.choose(code);
      const choice = themeChoices.find((one) => one === kept.theme);
      // "auto" is what everybody has who never chose; a choice made on this screen stays.
      if (choice && choice !== 'auto') theme.choose(choice);
      this.loaded = true;
    } catch {
      // What this browser remembers has to do.
    }
  }

  clear(): void {
    this.favourites = [];
    this.loaded = false;
  }

  chooseLanguage(code: LanguageCode): void {
    language.choose(code);
    void this.keep({ language: code });
  }

  chooseTheme(choice: ThemeChoice): void {
    theme.choose(choice);
    void this.keep({ theme: choice });
  }

  isFavourite(device: string): boolean {
    return this.favourites.includes(device);
  }

  async toggleFavourite(device: string): Promise<void> {
    const before = this.favourites;
    this.favourites = before.includes(device) ? before.filter((one) => one !== device) : [...before, device].slice(-MOST_FAVOURITES);
    try {
      await patch('/me/preferences', { favourites: this.favourites });
    } catch (error) {
      this.favourites = before;
      toasts.problem(error);
    }
  }

  private async keep(change: Partial<Kept>): Promise<void> {
    // Before signing in there is nobody to keep it for.
    if (!this.loaded) return;
    try {
      await patch('/me/preferences', change);
    } catch {
      // This browser remembers it all the same.
    }
  }
}

export const preferences = new Preferences();
