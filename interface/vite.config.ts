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

export default defineConfig({
  base: '/ui/',
  plugins: [svelte(), apiViewer(), meterPages()],
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
