// Devices that spoke for the first time while somebody looks on: the moment a person waits for.
import { devices, type Device } from './devices.svelte';
import { stream } from './stream.svelte';

const MOST = 5;

class Newcomers {
  list: Device[] = $state.raw([]);
  private expected = new Set<string>();

  start(): void {
    stream.read((batch) => {
      for (const event of batch) {
        if (event.kind === 'device' && event.change === 'registered') this.expect(event.device);
        else if (event.kind === 'device' && event.change === 'removed') this.dismiss(event.device);
        else if (event.kind === 'telemetry' && event.device && this.expected.has(event.device)) void this.welcome(event.device);
      }
    });
  }

  dismiss(id: string): void {
    this.list = this.list.filter((one) => one.info.id !== id);
  }

  clear(): void {
    this.list = [];
    this.expected.clear();
  }

  /** It was taken in and has not said anything yet. */
  expect(id: string): void {
    if (this.expected.size < 1000) this.expected.add(id);
  }

  private async welcome(id: string): Promise<void> {
    this.expected.delete(id);
    // A crowd that comes at once is a list of devices, not news.
    if (this.list.length >= MOST) return;
    try {
      const device = await devices.one(id);
      if (!this.list.includes(device)) this.list = [device, ...this.list];
    } catch {
      // Gone again, or not for this person to see.
    }
  }
}

export const newcomers = new Newcomers();
