import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { defineConfig, type Plugin } from 'vite';
import { svelte } from '@sveltejs/vite-plugin-svelte';

// The server's /docs page must work without an outside address, so its viewer travels with the interface.
// Emitting it unhashed keeps the name that the server's template knows.
function apiViewer(): Plugin {
  const dist = new URL('./node_modules/rapidoc/dist/', import.meta.url);
  return {
    name: 'api-viewer',
    apply: 'build',
    generateBundle() {
      for (const name of ['rapidoc-min.js', 'rapidoc-min.js.LICENSE.txt']) {
        const text = readFileSync(new URL(name, dist), 'utf8').replace(/^\/\/# sourceMappingURL=.*$/m, '');
        this.emitFile({ type: 'asset', fileName: `vendor/${name}`, source: text });
      }
    },
  };
}

// The water meters' pages are the server's own: they take the Socket.IO client, and the look of the interface, from here.
function meterPages(): Plugin {
  const client = new URL('./node_modules/socket.io-client/', import.meta.url);
  return {
    name: 'meter-pages',
    apply: 'build',
    generateBundle() {
      const script = readFileSync(new URL('dist/socket.io.min.js', client), 'utf8').replace(/^\/\/# sourceMappingURL=.*$/m, '');
      const licence = readFileSync(new URL('LICENSE', client), 'utf8');
      const look = readFileSync(new URL('./src/app.css', import.meta.url), 'utf8');
      this.emitFile({ type: 'asset', fileName: 'vendor/socket.io.min.js', source: script });
      this.emitFile({ type: 'asset', fileName: 'vendor/socket.io.min.js.LICENSE.txt', source: licence });
      this.emitFile({ type: 'asset', fileName: 'meters/base.css', source: look });
    },
  };
}

// The service worker is told what the shell consists of; its name of the cache changes whenever one of these files does.
function offlineShell(): Plugin {
  return {
    name: 'offline-shell',
    apply: 'build',
    enforce: 'post',
    generateBundle(_, bundle) {
      const first = Object.values(bundle).filter((one) => one.type === 'chunk' && one.isEntry);
      const names = first.flatMap((one) => (one.type === 'chunk' ? [one.fileName, ...one.imports, ...(one.viteMetadata?.importedCss ?? [])] : []));
      const shell = ['', 'theme.js', 'favicon.svg', 'manifest.webmanifest', 'icons/192.png', ...names].map((name) => `/ui/${name}`);
      const template = readFileSync(new URL('./src/worker.js', import.meta.url), 'utf8');
      const unnamed = ['index.html', 'public/theme.js', 'public/favicon.svg', 'public/manifest.webmanifest', 'public/icons/192.png'];
      const hash = createHash('sha256').update(JSON.stringify(Object.keys(bundle).sort()) + template);
      for (const name of unnamed) hash.update(readFileSync(new URL(`./${name}`, import.meta.url)));
      const version = hash.digest('hex').slice(0, 16);
      const source = template.replace('__VERSION__', version).replace('__SHELL__', JSON.stringify(shell));
      this.emitFile({ type: 'asset', fileName: 'worker.js', source });
    },
  };
}

export default defineConfig({
  base: '/ui/',
  plugins: [svelte(), apiViewer(), meterPages(), offlineShell()],
  build: {
    outDir: '../relevo/web/static',
    emptyOutDir: true,
    assetsDir: 'assets',
    // A data: URL in a style sheet would need a wider content security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 150,
  },
  server: {
    proxy: { '/api': process.env.RELEVO_SERVER ?? 'http://127.0.0.1:8000' },
  },
});
