import { mount } from 'svelte';
import './app.css';
import App from './App.svelte';
import { clock } from './live/clock.svelte';
import { router } from './live/route.svelte';
import { theme } from './live/theme.svelte';

theme.start();
clock.start();
router.start();
mount(App, { target: document.getElementById('app')! });

// Browsers allow it over HTTPS and on this machine alone; elsewhere the page simply needs the server.
if (import.meta.env.PROD && 'serviceWorker' in navigator) {
  addEventListener('load', () => void navigator.serviceWorker.register('/ui/worker.js', { scope: '/ui/' }).catch(() => {}));
}
