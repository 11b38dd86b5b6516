import { recall, remember } from './memory';

export type ThemeChoice = 'light' | 'dark' | 'auto';
export const themeChoices: readonly ThemeChoice[] = ['light', 'dark', 'auto'];

const system = matchMedia('(prefers-color-scheme: dark)');

class Theme {
  choice: ThemeChoice = $state(themeChoices.find((each) => each === recall('theme')) ?? 'auto');
  private systemDark: boolean = $state(system.matches);
  dark: boolean = $derived(this.choice === 'dark' || (this.choice === 'auto' && this.systemDark));

  start(): void {
    system.addEventListener('change', (event) => {
      this.systemDark = event.matches;
      this.apply();
    });
    this.apply();
  }

  choose(choice: ThemeChoice): void {
    this.choice = choice;
    remember('theme', choice);
    this.apply();
  }

  private apply(): void {
    document.documentElement.dataset.theme = this.dark ? 'dark' : 'light';
  }
}

export const theme = new Theme();
