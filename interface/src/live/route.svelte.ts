const BASE = '/ui';

export type Route =
  | { page: 'devices' }
  | { page: 'device'; id: string }
  | { page: 'door' }
  | { page: 'claim' }
  | { page: 'signin' }
  | { page: 'missing' };

export const paths = {
  devices: `${BASE}/`,
  door: `${BASE}/door`,
  claim: `${BASE}/claim`,
  signIn: `${BASE}/signin`,
  device: (id: string) => `${BASE}/device/${encodeURIComponent(id)}`,
} as const;

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function parse(path: string): Route {
  const [page = '', id, ...rest] = path.slice(BASE.length).split('/').filter(Boolean);
  if (page === '') return { page: 'devices' };
  if (page === 'device' && id && !rest.length) return { page: 'device', id: decode(id) };
  if ((page === 'door' || page === 'signin' || page === 'claim') && id === undefined) return { page };
  return { page: 'missing' };
}

class Router {
  route: Route = $state.raw(parse(location.pathname));

  start(): void {
    addEventListener('popstate', () => {
      this.route = parse(location.pathname);
    });
    document.addEventListener('click', (event) => {
      if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
      const link = (event.target as Element).closest('a');
      if (!link || link.target || link.origin !== location.origin || !link.pathname.startsWith(`${BASE}/`)) return;
      if (link.hash && link.pathname === location.pathname) return;
      event.preventDefault();
      this.go(link.pathname);
    });
  }

  go(path: string): void {
    if (path !== location.pathname) history.pushState(null, '', path);
    this.route = parse(path);
    scrollTo(0, 0);
  }

  replace(path: string): void {
    history.replaceState(null, '', path);
    this.route = parse(path);
  }
}

export const router = new Router();
