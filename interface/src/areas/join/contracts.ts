// The contracts a board may speak, as a person who wants to connect one needs them.
import { ofContract, post } from '../../live/api';
import type { DeviceInfo } from '../../live/shapes';

export type Contract = 'hidrometro' | 'autocore' | 'thingsnxt' | 'alchemy' | 'emqx' | 'native';
export const contracts: readonly Contract[] = ['native', 'hidrometro', 'autocore', 'thingsnxt', 'alchemy', 'emqx'];

type Payload = Record<string, unknown>;

/** What a board has to know of itself. */
export interface Account {
  contract: Contract;
  /** Its id here. */
  id: string;
  /** What it is called in its contract: serial number, uuid, client id. */
  external: string;
  user: string;
  key: string;
}

interface Manner {
  topic: (account: Account) => string;
  payload: (account: Account) => Payload;
  /** The same reading over HTTP: path, body, and whether the key goes into a header. */
  http: (account: Account) => { path: string; body: Payload; header: boolean };
  /** Where the server speaks to the board. */
  listens: (account: Account) => string;
}

const own = (account: Account, body: Payload) => ({ path: `/api/v1/devices/${encodeURIComponent(account.id)}/telemetry`, body, header: true });

export const manners: Record<Contract, Manner> = {
  native: {
    topic: ({ id }) => `relevo/${id}/telemetry`,
    payload: () => ({ temperature: 21.5 }),
    http: (account) => own(account, { temperature: 21.5 }),
    listens: ({ id }) => `relevo/${id}/command`,
  },
  hidrometro: {
    topic: () => 'hidrometro/dados',
    payload: ({ external }) => ({ totalLiters: 815.25, flowLmin: 12.4, numeroSerie: external }),
    http: ({ external }) => ({ path: '/api/data', body: { totalLiters: 815.25, flowLmin: 12.4, numeroSerie: external }, header: true }),
    listens: () => 'hidrometro/cmd',
  },
  autocore: {
    topic: ({ external }) => `autocore/devices/${external}/telemetry`,
    payload: () => ({ supply_v: 12.1 }),
    http: (account) => own(account, { supply_v: 12.1 }),
    listens: ({ external }) => `autocore/devices/${external}/command`,
  },
  thingsnxt: {
    topic: ({ external }) => `thingsnxt/device/${external}/telemetry`,
    payload: ({ key }) => ({ device_token: key, data: { temperature: 22.4 } }),
    http: ({ external, key }) => ({ path: `/devices/${external}/telemetry`, body: { device_token: key, data: { temperature: 22.4 } }, header: false }),
    listens: ({ external }) => `thingsnxt/device/${external}/commands`,
  },
  alchemy: {
    topic: () => 'dispositivos/estado',
    payload: ({ external }) => ({ serial_number: external, estado: 'activo', parametros: { watts: 8.6 } }),
    http: (account) => own(account, { watts: 8.6 }),
    listens: () => '',
  },
  emqx: {
    topic: ({ external }) => `iot/sensors/${external}/data`,
    payload: ({ external }) => ({ device_id: external, temperature: 21.75 }),
    http: (account) => own(account, { temperature: 21.75 }),
    listens: ({ external }) => `iot/devices/${external}/commands`,
  },
};

/** The contracts in which the server makes the identity up. */
export const madeHere: readonly Contract[] = ['thingsnxt'];

interface WithKey {
  id: string;
  key: string;
}

const SENSOR = 'temperature';

/** In contract emqx a value is kept when the device has a sensor of that name. */
async function giveSensor(external: string): Promise<void> {
  const device = await ofContract<{ results: { id: number; identificador_unico: string }[] }>('GET', '/api/devices/', { query: { search: external } });
  const row = device.results.find((one) => one.identificador_unico === external);
  if (!row) return;
  const known = await ofContract<{ results: { id: number; mqtt_topic_suffix: string }[] }>('GET', '/api/sensors/', { query: { search: SENSOR } });
  const sensor =
    known.results.find((one) => one.mqtt_topic_suffix === SENSOR) ??
    (await ofContract<{ id: number }>('POST', '/api/sensors/', { body: { nombre: SENSOR, tipo: 'temperatura', mqtt_topic_suffix: SENSOR } }));
  await ofContract('POST', `/api/devices/${row.id}/assign-sensor/`, { body: { sensor_id: sensor.id } });
}

/** Makes the device known, with a key of its own. */
export async function enrol(contract: Contract, identity: string, name: string): Promise<Account> {
  if (contract === 'native') {
    const made = await post<WithKey>('/devices', { id: identity, name });
    return { contract, id: made.id, external: made.id, user: made.id, key: made.key };
  }
  if (contract === 'thingsnxt') {
    const made = await ofContract<{ id: string; device_token: string }>('POST', '/devices', { body: { name, type: 'esp32' } });
    return { contract, id: made.id, external: made.id, user: made.id, key: made.device_token };
  }
  const device = await post<DeviceInfo>('/claims', { contract, external_id: identity, name });
  const made = await post<WithKey>(`/devices/${encodeURIComponent(device.id)}/credentials/keys`);
  if (contract === 'emqx') await giveSensor(device.external_id);
  return { contract, id: device.id, external: device.external_id, user: device.id, key: made.key };
}
