import { get, post, whenUnauthorized } from './api';
import { devices } from './devices.svelte';
import { paths, router } from './route.svelte';
import { stream } from './stream.svelte';
import { system } from './system.svelte';
import { unclaimed } from './unclaimed.svelte';

/** The cookie is invisible to scripts; whether one is signed in is known from the first answer. */
class Session {
  state: 'unknown' | 'in' | 'out' = $state('unknown');
  name = $state('');
  role: '' | 'viewer' | 'operator' | 'administrator' = $state('');

  async begin(): Promise<void> {
    whenUnauthorized(() => this.end());
    devices.start();
    unclaimed.start();
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
    // First the number of the newest event, then the lists: what happens meanwhile is told by the stream.
    await system.load();
    if (this.wasRefused()) return;
    await devices.load();
    if (this.wasRefused()) return;
    try {
      const me = await get<Pick<Session, 'name' | 'role'>>('/me');
      this.name = me.name;
      this.role = me.role;
    } catch {
      // Whoever is not known to be more sees what everybody may see.
      this.role = 'viewer';
    }
    if (this.wasRefused()) return;
    this.state = 'in';
    stream.open(system.info?.store.seq);
    if (this.role !== 'viewer') void unclaimed.load();
  }

  private wasRefused(): boolean {
    return this.state === 'out';
  }

  private end(): void {
    this.state = 'out';
    this.name = this.role = '';
    stream.close();
    devices.clear();
    unclaimed.clear();
    system.clear();
  }
}

export const session = new Session();
