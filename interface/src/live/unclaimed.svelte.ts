import { get, post } from './api';
import { toMs, type Page, type UnclaimedInfo, type Values } from './shapes';
import { stream } from './stream.svelte';

export interface Stranger {
  contract: string;
  externalId: string;
  firstSeen: number;
  lastSeen: number;
  count: number;
  reason: string;
  address: string;
  values: Values;
}

const PAGE_SIZE = 100;
const REMEMBERED = 500;

const nameOf = (contract: string, externalId: string) => `${contract}\n${externalId}`;

/** Those who speak to the server without being anybody's. */
class Unclaimed {
  list: Stranger[] = $state.raw([]);
  private known = new Map<string, Stranger>();
  /** Put aside here: they go on speaking, and are not news any more. */
  private aside = new Set<string>();

  start(): void {
    stream.read((batch) => {
      let touched = false;
      for (const event of batch) {
        if (event.kind === 'telemetry' && !event.stored && !event.device) {
          this.see(event.contract, event.external_id, event.received, event.reason, event.values, 1);
          touched = true;
        } else if (event.kind === 'unclaimed') {
          // The same message may also have come as a reading; only one of the two counts it.
          this.see(event.contract, event.external_id, toMs(event.at), event.reason, event.payload, 0);
          touched = true;
        }
      }
      if (touched) this.publish();
    });
    stream.whenStale(() => void this.load());
  }

  async load(): Promise<void> {
    try {
      const page = await get<Page<UnclaimedInfo>>('/unclaimed', { limit: PAGE_SIZE });
      this.known.clear();
      for (const info of page.items) this.learn(info);
      this.publish();
    } catch {
      // The section stays as it is; the device list above already tells that the server is away.
    }
  }

  async claim(stranger: Stranger, name: string): Promise<void> {
    await post('/claims', { contract: stranger.contract, external_id: stranger.externalId, name });
    this.known.delete(nameOf(stranger.contract, stranger.externalId));
    this.publish();
  }

  /** Ignored ones are not listed, blocked ones are not heard either. */
  async putAside(stranger: Stranger, how: 'ignore' | 'block'): Promise<void> {
    await post(`/unclaimed/${how}`, { contract: stranger.contract, external_id: stranger.externalId });
    const name = nameOf(stranger.contract, stranger.externalId);
    this.aside.add(name);
    this.known.delete(name);
    this.publish();
  }

  async restore(contract: string, externalId: string): Promise<void> {
    await post('/unclaimed/restore', { contract, external_id: externalId });
    this.aside.delete(nameOf(contract, externalId));
    await this.load();
  }

  clear(): void {
    this.aside.clear();
    this.known.clear();
    this.publish();
  }

  private learn(info: UnclaimedInfo): void {
    this.known.set(nameOf(info.contract, info.external_id), {
      contract: info.contract,
      externalId: info.external_id,
      firstSeen: toMs(info.first_seen),
      lastSeen: toMs(info.last_seen),
      count: info.count,
      reason: info.reason,
      address: info.address ?? '',
      values: info.payload ?? {},
    });
  }

  private see(contract: string, externalId: string, at: number, reason = '', values: Values = {}, count = 0): void {
    const name = nameOf(contract, externalId);
    if (this.aside.has(name)) return;
    const held = this.known.get(name);
    // A flood of invented serials must not fill the browser's memory.
    if (!held && this.known.size >= REMEMBERED) return;
    this.known.set(name, {
      contract,
      externalId,
      firstSeen: held?.firstSeen || at,
      lastSeen: Math.max(held?.lastSeen ?? 0, at),
      count: (held?.count ?? 0) + count,
      reason: reason || held?.reason || 'unclaimed',
      address: held?.address ?? '',
      values: Object.keys(values).length ? values : (held?.values ?? {}),
    });
  }

  private publish(): void {
    // Whoever came last is on top, and rows do not change places with every message.
    this.list = [...this.known.values()].sort((a, b) => b.firstSeen - a.firstSeen);
  }
}

export const unclaimed = new Unclaimed();
