import { setTimeout as sleep } from 'node:timers/promises';

const ANSWER_MS = 30_000;
const TRIES = 4;
const FIRST_PAUSE_MS = 500;
/** A host that asks for more patience than this is asked again in a later run. */
const MOST_PATIENCE_MS = 20_000;
/** Where a host asks for patience and doesn't say how much: GitHub's advice for secondary limits. */
const STANDARD_PATIENCE_MS = 60_000;
const MAX_REDIRECTS = 3;
const MAX_BODY_BYTES = 64 * 1024 * 1024;

/** The host asks to be left alone until then. */
export class HostBusy extends Error {
  readonly until: Date;

  constructor(until: Date, message: string) {
    super(message);
    this.name = 'HostBusy';
    this.until = until;
  }
}

/** A host's answer that is no success; its message says what to do where that is known. Holds no credential. */
export class HostError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.name = 'HostError';
    this.status = status;
  }
}

/** What an operator sees of a host. */
export interface HostHttpMetrics {
  requests(status: string): void;
  rateRemaining(remaining: number): void;
}

export interface HostHttpOptions {
  /** Requests, and the pages that answers point to, go to its origin and nowhere else. */
  baseURL: string;
  signal: AbortSignal;
  metrics: HostHttpMetrics;
  /** Tests shorten it. */
  firstPauseMs?: number;
}

/**
 * Requests to one host, with its manners: its limits are respected (GitHub's X-RateLimit-*, GitLab's RateLimit-*,
 * Retry-After), what fails for a moment is tried again with growing pauses, and credentials never leave its origin.
 */
export class HostHttp {
  readonly #origin: string;
  readonly #options: HostHttpOptions;
  #remaining: number | undefined;
  #resetAt = 0;
  #busyUntil = 0;

  constructor(options: HostHttpOptions) {
    this.#origin = new URL(options.baseURL).origin;
    this.#options = options;
  }

  /**
   * Like fetch; resolves with successes and 304 only. The shape that @octokit/request takes.
   * @throws HostBusy where the host asks for more patience than a run has, HostError for any other refusal
   */
  readonly fetch = async (input: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
    const url = new URL(input instanceof Request ? input.url : input);
    if (url.origin !== this.#origin)
      throw new HostError(0, `${this.#origin} points to ${url.origin}: a credential is not sent there`);
    for (let attempt = 1; ; attempt++) {
      if (this.#busyUntil > Date.now()) await this.#wait(this.#busyUntil - Date.now());
      if (this.#remaining === 0 && this.#resetAt > Date.now()) await this.#wait(this.#resetAt - Date.now());
      let response: Response;
      try {
        response = await this.#send(url, init);
      } catch (error) {
        this.#options.metrics.requests('failed');
        if (this.#options.signal.aborted || error instanceof HostError) throw error;
        const reason = ((error as Error).cause as Error | undefined)?.message ?? (error as Error).message;
        if (attempt >= TRIES) throw new HostError(0, `${this.#origin} can't be reached: ${reason}`);
        await this.#pause(attempt);
        continue;
      }
      this.#options.metrics.requests(String(response.status));
      this.#note(response.headers);
      if (response.ok || response.status === 304) return response;
      const text = (await response.text()).slice(0, 2000);
      const patience = patienceOf(response, text);
      if (patience !== undefined && attempt < TRIES) {
        await this.#wait(patience);
        continue;
      }
      if (response.status >= 500 && attempt < TRIES) {
        await this.#pause(attempt);
        continue;
      }
      if (patience !== undefined)
        throw new HostBusy(new Date(Date.now() + patience), `${this.#origin} limits requests`);
      throw new HostError(response.status, refusal(url, response, text));
    }
  };

  async #send(url: URL, init: RequestInit): Promise<Response> {
    let to = url;
    for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
      const response = await fetch(to, {
        ...init,
        redirect: 'manual',
        signal: AbortSignal.any([this.#options.signal, AbortSignal.timeout(ANSWER_MS)]),
      });
      const length = Number(response.headers.get('content-length') ?? 0);
      if (length > MAX_BODY_BYTES)
        throw new HostError(response.status, `${url.pathname}: ${length} bytes are too many`);
      const location = response.headers.get('location');
      if (![301, 302, 307, 308].includes(response.status) || location === null) return response;
      await response.body?.cancel();
      to = new URL(location, to);
      if (to.origin !== this.#origin)
        throw new HostError(
          response.status,
          `${this.#origin} points to ${to.origin}: a credential is not sent there`,
        );
    }
    throw new HostError(310, `${url.pathname}: it points on and on`);
  }

  #note(headers: Headers): void {
    const remaining = headers.get('x-ratelimit-remaining') ?? headers.get('ratelimit-remaining');
    const reset = headers.get('x-ratelimit-reset') ?? headers.get('ratelimit-reset');
    if (remaining === null || !/^\d+$/.test(remaining)) return;
    this.#remaining = Number(remaining);
    this.#resetAt = Number(reset ?? 0) * 1000;
    this.#options.metrics.rateRemaining(this.#remaining);
  }

  #pause(attempt: number): Promise<void> {
    const base = (this.#options.firstPauseMs ?? FIRST_PAUSE_MS) * 2 ** (attempt - 1);
    return this.#sleep(base * (0.75 + Math.random() / 2));
  }

  async #wait(milliseconds: number): Promise<void> {
    if (milliseconds > MOST_PATIENCE_MS) {
      this.#busyUntil = Date.now() + milliseconds;
      throw new HostBusy(
        new Date(this.#busyUntil),
        `${this.#origin} limits requests, and takes more in ${Math.ceil(milliseconds / 1000)} s`,
      );
    }
    await this.#sleep(milliseconds);
  }

  async #sleep(milliseconds: number): Promise<void> {
    await sleep(Math.max(0, milliseconds), undefined, { signal: this.#options.signal });
  }
}

/**
 * How long a refusal asks to wait, in milliseconds; undefined where it isn't about limits. GitHub says so by 429 or 403
 * with Retry-After, by no remaining requests, or in words alone (REST "Rate limits", "Exceeding the rate limit").
 */
function patienceOf(response: Response, text: string): number | undefined {
  const { status, headers } = response;
  if (status !== 403 && status !== 429 && status !== 503) return undefined;
  const retryAfter = headers.get('retry-after');
  if (retryAfter !== null) {
    const at = /^\d+$/.test(retryAfter) ? Date.now() + Number(retryAfter) * 1000 : Date.parse(retryAfter);
    return Number.isNaN(at) ? STANDARD_PATIENCE_MS : Math.max(0, at - Date.now());
  }
  const spent = (headers.get('x-ratelimit-remaining') ?? headers.get('ratelimit-remaining')) === '0';
  const reset = headers.get('x-ratelimit-reset') ?? headers.get('ratelimit-reset');
  if (spent && reset !== null) return Math.max(1000, Number(reset) * 1000 - Date.now());
  if (status === 429 || /secondary rate limit|abuse detection/i.test(text)) return STANDARD_PATIENCE_MS;
  return undefined;
}

/** What a refusal says, and what the credential lacks. */
function refusal(url: URL, response: Response, text: string): string {
  const { status, headers } = response;
  let message = '';
  try {
    const body = JSON.parse(text.replace(/^\)\]\}'\n/, '')) as { message?: unknown; error?: unknown };
    const said = body.message ?? body.error;
    message = typeof said === 'string' ? said : '';
  } catch {
    // A page of a proxy says nothing that helps.
  }
  const needs = headers.get('x-accepted-github-permissions') ?? headers.get('x-accepted-oauth-scopes');
  const has = headers.get('x-oauth-scopes');
  const advice =
    status === 401
      ? 'the credential is not valid, or no longer'
      : status === 403 || status === 404
        ? [
            needs ? `it takes ${needs}` : undefined,
            has ? `the token has ${has}` : undefined,
            status === 404 && !needs ? 'it is not there, or the credential may not see it' : undefined,
          ]
            .filter(Boolean)
            .join('; ')
        : '';
  return [`${url.pathname}: ${status}`, message, advice].filter(Boolean).join('; ').slice(0, 500);
}
