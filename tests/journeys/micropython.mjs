// Runs a Python file under MicroPython: node micropython.mjs HOME FOLDER FILE; modules of FOLDER can be imported.
import { createRequire } from 'node:module';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [home, folder, file] = process.argv.slice(2);
const path = createRequire(join(home, 'package.json')).resolve('@micropython/micropython-webassembly-pyscript/micropython.mjs');
const { loadMicroPython } = await import(pathToFileURL(path).href);
const python = await loadMicroPython({ heapsize: 128 * 1024, stdout: (line) => console.log(line) });
for (const name of readdirSync(folder)) {
  if (name.endsWith('.py')) python.FS.writeFile(`/${name}`, readFileSync(join(folder, name), 'utf8'));
}
python.runPython('import sys\nsys.path.insert(0, "/")');
python.runPython(readFileSync(file, 'utf8'));
