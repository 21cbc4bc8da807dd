/** Where the page is. The address holds everything that decides what is shown, so that it can be kept and sent. */
class Router {
  path = $state(location.pathname);
  query = $state.raw(new URLSearchParams(location.search));

  constructor() {
    addEventListener('popstate', () => this.#read());
  }

  go(href: string, replace = false): void {
    history[replace ? 'replaceState' : 'pushState'](null, '', href);
    const before = this.path;
    this.#read();
    if (this.path === before) return;
    scrollTo(0, 0);
    // For whoever goes by keyboard or ear, the new view begins at its heading.
    requestAnimationFrame(() => document.querySelector<HTMLElement>('h1')?.focus());
  }

  /** Sets some parameters of the address; undefined or '' takes one out. */
  set(values: Record<string, string | undefined>, replace = false): void {
    const query = new URLSearchParams(this.query);
    for (const [name, value] of Object.entries(values)) {
      if (value) query.set(name, value);
      else query.delete(name);
    }
    const text = query.toString();
    this.go(this.path + (text && `?${text}`), replace);
  }

  #read(): void {
    this.path = location.pathname;
    this.query = new URLSearchParams(location.search);
  }
}

export const router = new Router();

/** Follows our own links without loading the page anew; others, and those meant for another tab, go their way. */
export function followLinks(event: MouseEvent): void {
  if (event.defaultPrevented || event.button !== 0) return;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = (event.target as Element).closest('a');
  if (!link || link.target || link.hasAttribute('download') || link.origin !== location.origin) return;
  if (link.hash || /^\/(v1|docs|openapi\.json)/.test(link.pathname)) return;
  event.preventDefault();
  router.go(link.pathname + link.search);
}
