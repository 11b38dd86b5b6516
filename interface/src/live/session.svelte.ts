import { openAlerts } from './alerts.svelte';
import { ApiError, get, post, whenUnauthorized } from './api';
import { devices } from './devices.svelte';
import { forget, recall, remember } from './memory';
import { newcomers } from './newcomers.svelte';
import { preferences } from './preferences.svelte';
import { paths, router } from './route.svelte';
import { stream } from './stream.svelte';
import { system } from './system.svelte';
import { unclaimed } from './unclaimed.svelte';

export type Role = 'viewer' | 'operator' | 'administrator';

interface Me {
  name: string;
  role: Role;
  /** Nobody has chosen a password of their own yet. */
  password_generated?: boolean;
}

const RETRY_MS = 3000;

/** The cookie is invisible to scripts; whether one is signed in is known from the first answer. */
class Session {
  state: 'unknown' | 'in' | 'out' = $state('unknown');
  name = $state('');
  role: '' | Role = $state('');
  /** The server did not answer when this page was opened: what is shown is what this browser remembers. */
  away = $state(false);
  /** The first administrator has still to choose a password. */
  fresh = $state(false);
  private timer: ReturnType<typeof setTimeout> | undefined;

  async begin(): Promise<void> {
    whenUnauthorized(() => this.end());
    devices.start();
    unclaimed.start();
    openAlerts.start();
    await this.fill();
  }

  async signIn(username: string, password: string): Promise<void> {
    await post('/auth/login', { username, password });
    this.state = 'unknown';
    await this.fill();
  }

  async signOut(): Promise<void> {
    try {
      await post('/auth/logout');
    } finally {
      this.end();
      // Whoever comes next starts at home, not where the last one left.
      router.replace(paths.signIn);
    }
  }

  private async fill(): Promise<void> {
    clearTimeout(this.timer);
    // First the number of the newest event, then the lists: what happens meanwhile is told by the stream.
    await system.load();
    if (this.wasRefused()) return;
    const [me] = await Promise.all([this.askWho(), devices.load(), preferences.load()]);
    if (this.wasRefused()) return;
    this.away = me === undefined;
    if (me) {
      this.name = me.name;
      this.role = me.role;
      this.fresh = me.password_generated === true;
      remember('me', JSON.stringify({ name: me.name, role: me.role }));
      stream.open(system.info?.store.seq);
      void openAlerts.load();
      if (this.role !== 'viewer') void unclaimed.load();
    } else {
      this.recallWho();
      this.timer = setTimeout(() => void this.fill(), RETRY_MS);
    }
    this.state = 'in';
  }

  /** Nobody when the server is away. */
  private async askWho(): Promise<Me | undefined> {
    try {
      return await get<Me>('/me');
    } catch (error) {
      // An answer that refuses is an answer; whoever is not known to be more sees what everybody may see.
      return error instanceof ApiError && error.status < 500 ? { name: '', role: 'viewer' } : undefined;
    }
  }

  private recallWho(): void {
    const kept = recall('me');
    if (!kept) return;
    const { name, role } = JSON.parse(kept) as Me;
    this.name = name;
    this.role = role;
  }

  private wasRefused(): boolean {
    return this.state === 'out';
  }

  private end(): void {
    clearTimeout(this.timer);
    this.state = 'out';
    this.name = this.role = '';
    this.away = this.fresh = false;
    // What one person saw is nothing to the next.
    forget('me');
    forget('devices');
    stream.close();
    devices.clear();
    unclaimed.clear();
    newcomers.clear();
    openAlerts.clear();
    system.clear();
    preferences.clear();
  }
}

export const session = new Session();
