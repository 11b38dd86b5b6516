import { ApiError } from './api';
import { language } from '../words/words.svelte';

/** One form's way to the server: whether it is under way, and what the server had against it, field by field. */
export class Submission {
  busy = $state(false);
  problem = $state('');
  /** Field as the server names it -> what is wrong with it. */
  fields: Record<string, string> = $state.raw({});

  /** The answer of `work`, or nothing when it failed; then `problem` and `fields` say why. */
  async run<T>(work: () => Promise<T>): Promise<T | undefined> {
    if (this.busy) return undefined;
    this.busy = true;
    this.clear();
    try {
      return await work();
    } catch (error) {
      this.learn(error);
      return undefined;
    } finally {
      this.busy = false;
    }
  }

  clear(): void {
    this.problem = '';
    this.fields = {};
  }

  private learn(error: unknown): void {
    this.problem = problemOf(error);
    if (!(error instanceof ApiError)) return;
    const named = error.fields.filter((one) => one.field);
    // FastAPI says where in the request a field stands; a form knows its name alone.
    this.fields = Object.fromEntries(named.map((one) => [one.field.replace(/^body\./, ''), one.message]));
  }
}

/** Why something failed, as a person is told. */
export function problemOf(error: unknown): string {
  return error instanceof ApiError ? error.message : language.words.unreachable;
}
