import { get, type Query } from './api';
import type { Page } from './shapes';

/** A list of the API, page after page. */
export class Listing<T> {
  items: T[] = $state.raw([]);
  next: string | null = $state(null);
  state: 'loading' | 'ready' | 'failed' = $state('loading');
  private asked = 0;

  constructor(
    readonly path: string,
    private readonly query: () => Query = () => ({}),
  ) {}

  async load(): Promise<void> {
    const mine = ++this.asked;
    try {
      const page = await get<Page<T>>(this.path, this.query());
      if (mine !== this.asked) return;
      this.items = page.items;
      this.next = page.next;
      this.state = 'ready';
    } catch {
      if (mine === this.asked && this.state !== 'ready') this.state = 'failed';
    }
  }

  async more(): Promise<void> {
    if (!this.next) return;
    const mine = this.asked;
    const page = await get<Page<T>>(this.path, { ...this.query(), cursor: this.next });
    if (mine !== this.asked) return;
    this.items = [...this.items, ...page.items];
    this.next = page.next;
  }
}
