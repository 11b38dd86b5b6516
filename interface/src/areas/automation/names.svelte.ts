// Names of devices that pages speak of, fetched one by one as they are needed and kept.
import { get } from '../../live/api';
import { devices } from '../../live/devices.svelte';
import type { DeviceInfo } from '../../live/shapes';

class Names {
  private known: Record<string, string> = $state({});
  private asked = new Set<string>();

  of = (id: string): string => {
    const held = devices.peek(id);
    return held ? held.title : (this.known[id] ?? id);
  };

  /** Asks for those that are not known yet. */
  async want(ids: Iterable<string>): Promise<void> {
    const missing = [...new Set(ids)].filter((id) => id && !devices.peek(id) && !this.asked.has(id)).slice(0, 50);
    for (const id of missing) this.asked.add(id);
    await Promise.all(
      missing.map(async (id) => {
        try {
          const device = await get<DeviceInfo>(`/devices/${encodeURIComponent(id)}`);
          this.known[id] = device.name || device.external_id || id;
        } catch {
          // One that is gone keeps its id as its name.
        }
      }),
    );
  }
}

export const names = new Names();
