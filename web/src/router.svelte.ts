/** Where the page is. The address holds everything that decides what is shown, so that it can be kept and sent. */
class Router {
  #headings: MutationObserver | undefined;
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
    this.#beginAtHeading();
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

  /** For whoever goes by keyboard or ear, a new view begins at its heading, which may come with its code or its answer. */
  #beginAtHeading(): void {
    this.#headings?.disconnect();
    const left = document.activeElement;
    const focus = () => {
      const heading = document.querySelector<HTMLElement>('h1');
      if (!heading) return;
      this.#headings?.disconnect();
      // Whoever has gone on meanwhile is not called back.
      if ([document.body, left].includes(document.activeElement)) heading.focus();
    };
    this.#headings = new MutationObserver(focus);
    requestAnimationFrame(() => {
      this.#headings?.observe(document.body, { childList: true, subtree: true });
      focus();
    });
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
