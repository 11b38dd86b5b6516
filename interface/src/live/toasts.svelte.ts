import { problemOf } from './submission.svelte';

export interface Toast {
  key: number;
  text: string;
  kind: 'done' | 'problem';
  action?: { text: string; run: () => void };
}

const SHOWN_MS = 5000;
const PROBLEM_SHOWN_MS = 12_000;
const MOST = 4;

class Toasts {
  list: Toast[] = $state.raw([]);
  private next = 1;

  /** Tell that something was done; `action` may take it back. */
  done(text: string, action?: Toast['action']): void {
    this.add(text, 'done', action);
  }

  problem(error: unknown): void {
    this.add(typeof error === 'string' ? error : problemOf(error), 'problem');
  }

  dismiss(key: number): void {
    this.list = this.list.filter((one) => one.key !== key);
  }

  private add(text: string, kind: Toast['kind'], action?: Toast['action']): void {
    const key = this.next++;
    this.list = [...this.list, { key, text, kind, ...(action ? { action } : {}) }].slice(-MOST);
    setTimeout(() => this.dismiss(key), kind === 'done' ? SHOWN_MS : PROBLEM_SHOWN_MS);
  }
}

export const toasts = new Toasts();
