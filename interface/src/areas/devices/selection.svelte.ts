// Which devices of the list are chosen for something that is done to many at once.
import { SvelteMap } from 'svelte/reactivity';

/** As many as the server changes at once. */
export const MOST = 1000;

class Selection {
  /** Device -> its name. */
  readonly chosen = new SvelteMap<string, string>();
  full = $state(false);

  toggle(id: string, name: string): void {
    if (this.chosen.has(id)) this.chosen.delete(id);
    else this.add(id, name);
    this.full = this.chosen.size >= MOST;
  }

  addAll(rows: readonly { id: string; name: string }[]): void {
    for (const row of rows) this.add(row.id, row.name);
    this.full = this.chosen.size >= MOST;
  }

  drop(ids: readonly string[]): void {
    for (const id of ids) this.chosen.delete(id);
    this.full = false;
  }

  clear(): void {
    this.chosen.clear();
    this.full = false;
  }

  private add(id: string, name: string): void {
    if (this.chosen.size < MOST) this.chosen.set(id, name);
  }
}

export const selection = new Selection();
