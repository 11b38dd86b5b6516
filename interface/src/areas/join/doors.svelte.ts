// Where boards find this server: what the browser uses, unless somebody says otherwise.
import { system } from '../../live/system.svelte';

const LOCAL = /^(localhost|127\.|\[?::1\]?$)/;

class Found {
  host = $state(location.hostname);
  readonly local = $derived(LOCAL.test(this.host));
  readonly mqtt: number = $derived(system.info?.mqtt.port ?? 0);
  readonly tls: number | null = $derived(system.info?.mqtt.tls_port ?? null);
  readonly http = $derived(`${location.protocol}//${this.host}${location.port ? `:${location.port}` : ''}`);
}

export const found = new Found();
