import { get, type Query } from './api';
import { keepUp, type Keeping } from './keeping';
import type { Page } from './shapes';

/** A list of the API, page after page. */
export class Listing<T, P extends Page<T> = Page<T>> {
  items: T[] = $state.raw([]);
  next: string | null = $state(null);
  state: 'loading' | 'ready' | 'failed' = $state('loading');
  /** The newest first page as it came, for what stands beside its items. */
  page: P | null = $state.raw(null);
  private asked = 0;
  private opened = false;

  constructor(
    readonly path: string,
    private readonly query: () => Query = () => ({}),
    /** As many may be asked for at once: another look then keeps open what was opened. */
    private readonly most = 0,
  ) {}

  async load(): Promise<void> {
    const mine = ++this.asked;
    try {
      const wide = this.opened && this.most ? { limit: Math.min(this.most, this.items.length) } : {};
      const page = await get<P>(this.path, { ...this.query(), ...wide });
      if (mine !== this.asked) return;
      this.page = page;
      this.items = page.items;
      this.next = page.next;
      this.state = 'ready';
    } catch {
      if (mine === this.asked && this.state !== 'ready') this.state = 'failed';
    }
  }

  /** Stays as the server has it, see {@link keepUp}. */
  keepUp(keeping: Keeping): () => void {
    return keepUp(() => void this.load(), keeping);
  }

  async more(): Promise<void> {
    if (!this.next) return;
    const mine = this.asked;
    const page = await get<P>(this.path, { ...this.query(), cursor: this.next });
    if (mine !== this.asked) return;
    this.opened = true;
    this.items = [...this.items, ...page.items];
    this.next = page.next;
  }

  /** What a change answered, in the place of what it was. */
  put(changed: T, same: (one: T) => boolean): void {
    this.items = this.items.map((one) => (same(one) ? changed : one));
  }

  drop(same: (one: T) => boolean): void {
    this.items = this.items.filter((one) => !same(one));
  }
}
