import { get } from './api';
import type { SystemInfo } from './shapes';

const SHORTEST_LOOK_S = 1.5;
const LONGEST_LOOK_S = 30;

class System {
  info: SystemInfo | null = $state.raw(null);
  /** MQTT messages a second between the last two looks. */
  messageRate: number | null = $state(null);
  openSwitches: string[] = $derived(
    Object.entries(this.info?.switches ?? {})
      .filter(([, open]) => open)
      .map(([name]) => name),
  );
  counters: [string, number][] = $derived(
    Object.entries(this.info?.counters ?? {}).flatMap(([name, held]): [string, number][] =>
      typeof held === 'number' ? [[name, held]] : Object.entries(held).map(([part, n]) => [`${name}.${part}`, n]),
    ),
  );
  /** Readings of the unclaimed are shown live, so they were not turned away. */
  refused: number = $derived(
    this.counters.reduce((sum, [name, n]) => (name.startsWith('refused') && !name.startsWith('refused.unclaimed') ? sum + n : sum), 0),
  );
  private seenAt = 0;
  private seenMessages = 0;

  async load(): Promise<void> {
    try {
      const info = await get<SystemInfo>('/system');
      this.info = info;
      this.measure(info.mqtt.received, performance.now());
    } catch {
      // The last figures stay; the stream's state in the header tells that they are old.
    }
  }

  clear(): void {
    this.info = null;
    this.messageRate = null;
    this.seenAt = 0;
  }

  private measure(messages: number, now: number): void {
    const elapsed = (now - this.seenAt) / 1000;
    // Two looks in quick succession tell nothing about a rate, and neither does one from long ago.
    if (this.seenAt && elapsed < SHORTEST_LOOK_S) return;
    const more = messages - this.seenMessages;
    this.messageRate = this.seenAt && more >= 0 && elapsed < LONGEST_LOOK_S ? more / elapsed : null;
    this.seenAt = now;
    this.seenMessages = messages;
  }
}

export const system = new System();
