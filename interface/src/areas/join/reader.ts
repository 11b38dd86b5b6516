// The reader of QR codes: a megabyte, so it is fetched when somebody scans and not before.
import wasm from 'zxing-wasm/reader/zxing_reader.wasm?url';

type Reading = typeof import('zxing-wasm/reader');
let loaded: Promise<Reading> | undefined;

function load(): Promise<Reading> {
  loaded ??= import('zxing-wasm/reader').then(
    (reading) => {
      reading.prepareZXingModule({ overrides: { locateFile: (path: string, prefix: string) => (path.endsWith('.wasm') ? wasm : prefix + path) } });
      return reading;
    },
    (error: unknown) => {
      loaded = undefined;
      throw error;
    },
  );
  return loaded;
}

/** What the first QR code in a picture says, empty when there is none that can be read. */
export async function readQr(picture: Blob | ImageData): Promise<string> {
  const { readBarcodes } = await load();
  const found = await readBarcodes(picture, { formats: ['QRCode'], tryHarder: true, maxNumberOfSymbols: 1 });
  return found[0]?.text ?? '';
}

/** The serial number that a label's text names, empty for what is no label. */
export function serialOf(text: string): string {
  try {
    const serial = /^https?:/i.test(text) ? new URL(text).searchParams.get('serial') : labelled(JSON.parse(text));
    return serial ?? '';
  } catch {
    return '';
  }
}

function labelled(label: { serial_number?: unknown; serial?: unknown }): string {
  const serial = label.serial_number ?? label.serial;
  return typeof serial === 'string' ? serial : '';
}
