// Devices send bare keys; names are all there is to guess a unit from. A wrong unit is worse than none,
// so only unambiguous endings and well-known names count.
import type { Latest, Value } from './shapes';

export interface Measure {
  /** The stem that the dictionaries may know, such as `soil_moisture`, and a number behind it, such as the 2 of `relay_2`. */
  stem: string;
  ordinal: string;
  /** What to show when no dictionary knows the stem. */
  label: string;
  unit: string;
  digits: number | null;
}

/** ending of the key (as separate word) -> unit, and the digits people read of it */
const ENDINGS: Record<string, [unit: string, digits: number | null]> = {
  c: ['°C', 1], celsius: ['°C', 1], f: ['°F', 1], pct: ['%', 1], percent: ['%', 1],
  ppm: ['ppm', 0], ppb: ['ppb', 0], lux: ['lx', 0], lx: ['lx', 0],
  v: ['V', 2], mv: ['mV', 0], a: ['A', 2], ma: ['mA', 0], w: ['W', 1], kw: ['kW', 2], wh: ['Wh', 0], kwh: ['kWh', 2],
  hpa: ['hPa', 1], kpa: ['kPa', 1], pa: ['Pa', 0], bar: ['bar', 2], hz: ['Hz', 1], rpm: ['rpm', 0],
  mm: ['mm', 0], cm: ['cm', 1], km: ['km', 1], kg: ['kg', 2], m3: ['m³', 3], dbm: ['dBm', 0], db: ['dB', 1],
  ms: ['ms', 0], s: ['s', 0], deg: ['°', 1], lmin: ['L/min', 2], lpm: ['L/min', 2],
  ugm3: ['µg/m³', 1], mgm3: ['mg/m³', 2], wm2: ['W/m²', 0], kmh: ['km/h', 1], mps: ['m/s', 1],
  liters: ['L', 1], litres: ['L', 1], litros: ['L', 1], bytes: ['B', 0],
};

/** whole names that say their unit without an ending */
const NAMES: Record<string, [unit: string, digits: number | null]> = {
  temperature: ['°C', 1], temperatura: ['°C', 1], temp: ['°C', 1],
  humidity: ['%', 1], humedad: ['%', 1], umidade: ['%', 1], hum: ['%', 1],
  rssi: ['dBm', 0], watts: ['W', 1], volts: ['V', 2], amps: ['A', 2], co2: ['ppm', 0], lux: ['lx', 0],
};

/** other words and languages for the same thing */
const ALIASES: Record<string, string> = {
  temp: 'temperature', temperatura: 'temperature', hum: 'humidity', humedad: 'humidity', umidade: 'humidity',
  lux: 'light', luz: 'light', illuminance: 'light', watts: 'power', potencia: 'power', volts: 'voltage', voltaje: 'voltage',
  amps: 'current', corriente: 'current', corrente: 'current', caudal: 'flow', vazao: 'flow', nivel: 'level', estado: 'state',
  total_liters: 'total', total_litres: 'total', total_litros: 'total', bat: 'battery', rele: 'relay', bomba: 'pump',
};

/** what people look at first; anything unlisted comes between the two groups */
const FIRST = [
  'temperature', 'temperatura', 'temp', 'flow', 'caudal', 'vazao', 'co2', 'humidity', 'humedad', 'umidade', 'hum',
  'total', 'power', 'watts', 'potencia', 'energy', 'light', 'luz', 'pressure', 'level', 'nivel', 'distance', 'soil',
  'ph', 'voltage', 'current', 'relay', 'state', 'estado',
];
const LAST = ['battery', 'rssi', 'signal', 'uptime', 'heap', 'free', 'boot', 'seq', 'count', 'reset', 'ip', 'mac', 'version', 'firmware', 'ts', 'timestamp'];

export function wordsOf(key: string): string[] {
  return key
    .replace(/([a-z0-9])([A-Z])/g, '$1 $2')
    .split(/[\s_.\-/]+/)
    .filter(Boolean)
    .map((word) => word.toLowerCase());
}

const cache = new Map<string, Measure>();

export function measureOf(key: string): Measure {
  let measure = cache.get(key);
  if (!measure) {
    measure = guess(key);
    // Keys come from outside; the cache must not grow with whatever is sent.
    if (cache.size > 2000) cache.clear();
    cache.set(key, measure);
  }
  return measure;
}

function guess(key: string): Measure {
  const words = wordsOf(key);
  const last = words.at(-1) ?? '';
  const joined = words.slice(-2).join('');
  let unit: [string, number | null] | undefined;
  let label = words;
  if (words.length > 2 && ENDINGS[joined]) {
    unit = ENDINGS[joined];
    label = words.slice(0, -2);
  } else if (last === 'ms' && (words.includes('wind') || words.includes('speed'))) {
    // The one common ending with two meanings.
    unit = ['m/s', 1];
    label = words.slice(0, -1);
  } else if (words.length > 1 && ENDINGS[last]) {
    unit = ENDINGS[last];
    // "total liters" needs its second word; "temperature c" and "humidity percent" do not.
    label = last.length > 4 && last !== 'percent' && last !== 'celsius' ? words : words.slice(0, -1);
  } else {
    unit = NAMES[words[0] ?? ''] && words.length === 1 ? NAMES[words[0] ?? ''] : undefined;
  }
  const text = label.join(' ');
  const numbered = /^(.*?)[ ]?(\d*)$/.exec(text);
  const stem = (numbered?.[1] ?? text).replaceAll(' ', '_');
  return { stem: ALIASES[stem] ?? stem, ordinal: numbered?.[2] ?? '', label: prettify(text) || key, unit: unit?.[0] ?? '', digits: unit?.[1] ?? null };
}

function prettify(text: string): string {
  const known = text.replace(/\bco2\b/g, 'CO₂').replace(/\brssi\b/g, 'RSSI').replace(/\bph\b/g, 'pH').replace(/\buv\b/g, 'UV').replace(/\bip\b/g, 'IP');
  return known === text || /^[a-z]/.test(known) ? known.charAt(0).toUpperCase() + known.slice(1) : known;
}

function rank(key: string, value: Value | undefined): number {
  const words = wordsOf(key);
  const kind = typeof value === 'number' ? 0 : typeof value === 'boolean' ? 40 : 200;
  const late = words.findIndex((word) => LAST.includes(word));
  if (late >= 0) return 100 + kind;
  const early = FIRST.findIndex((name) => words.includes(name));
  return kind + (early >= 0 ? early : FIRST.length);
}

/** At most four keys for a small card, the most telling first; the order is stable from reading to reading. */
export function interestingKeys(latest: Record<string, Latest>, limit = 4): string[] {
  return Object.keys(latest)
    .filter((key) => latest[key]?.value !== null && typeof latest[key]?.value !== 'object')
    .sort((a, b) => rank(a, latest[a]?.value) - rank(b, latest[b]?.value) || (a < b ? -1 : 1))
    .slice(0, limit);
}

export function isDrawable(value: Value | undefined): boolean {
  return typeof value === 'number' || typeof value === 'boolean';
}
