// What is needed to show something while the server is away. Readings are never kept here: an old value that looks new is
// worse than none, so everything of the API goes to the network and nowhere else.
const CACHE = 'relevo-__VERSION__';
const SHELL = __SHELL__;

addEventListener('install', (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(SHELL)).then(() => skipWaiting()));
});

addEventListener('activate', (event) => {
  const clean = async () => {
    for (const name of await caches.keys()) if (name.startsWith('relevo-') && name !== CACHE) await caches.delete(name);
    await clients.claim();
  };
  event.waitUntil(clean());
});

async function page(request) {
  try {
    const answer = await fetch(request);
    // A proxy's own "bad gateway" is no better than no answer.
    if (answer.status < 500) return answer;
  } catch {
    // Away; see below.
  }
  return (await caches.match('/ui/', { ignoreVary: true })) ?? Response.error();
}

// Files with a hash in their name never change.
async function file(request) {
  const held = await caches.match(request, { ignoreVary: true });
  if (held) return held;
  const answer = await fetch(request);
  if (answer.ok && new URL(request.url).pathname.startsWith('/ui/assets/')) {
    const cache = await caches.open(CACHE);
    await cache.put(request, answer.clone());
  }
  return answer;
}

addEventListener('fetch', (event) => {
  const { request } = event;
  const address = new URL(request.url);
  if (request.method !== 'GET' || address.origin !== location.origin || !address.pathname.startsWith('/ui/')) return;
  // A one-time link has to reach the server.
  if (address.pathname.startsWith('/ui/enter/')) return;
  if (request.mode === 'navigate') event.respondWith(page(request));
  else if (address.pathname.startsWith('/ui/assets/') || SHELL.includes(address.pathname)) event.respondWith(file(request));
});
