import { isOurs, pageAt, pathTo, type PageName, type Params } from './addresses';

export interface Route {
  page: PageName | 'missing';
  /** What the address names, such as the id of a device. */
  params: Params;
  query: URLSearchParams;
}

export const paths = {
  home: pathTo('home'),
  devices: pathTo('devices'),
  door: pathTo('door'),
  claim: pathTo('claim'),
  join: pathTo('join'),
  signIn: pathTo('signin'),
  device: (id: string, tab = '') => pathTo('device', { id, tab }),
} as const;

function read(): Route {
  return { ...pageAt(location.pathname), query: new URLSearchParams(location.search) };
}

class Router {
  route: Route = $state.raw(read());

  start(): void {
    addEventListener('popstate', () => {
      this.route = read();
    });
    document.addEventListener('click', (event) => {
      if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
      const link = (event.target as Element).closest('a');
      if (!link || link.target || link.download || link.origin !== location.origin || !isOurs(link.pathname)) return;
      if (link.hash && link.pathname === location.pathname) return;
      event.preventDefault();
      this.go(link.pathname + link.search);
    });
  }

  go(address: string): void {
    const before = location.pathname;
    if (address !== location.pathname + location.search) history.pushState(null, '', address);
    this.route = read();
    if (location.pathname !== before) scrollTo(0, 0);
  }

  replace(address: string): void {
    history.replaceState(null, '', address);
    this.route = read();
  }
}

export const router = new Router();
