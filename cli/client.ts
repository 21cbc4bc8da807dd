import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { Readable } from 'node:stream';
import type { ClientOptions } from './credentials.js';
import { CliError, EXIT } from './exit.js';

/** An answer has to begin within this time. */
const ANSWER_MS = 60_000;
/** How often a question is asked again while the archive is being read; each time it waits for a while. */
const ARCHIVE_ATTEMPTS = 60;

/** What to do about a failure of the connection, by the system's or OpenSSL's word for it. */
const ADVICE: Array<[RegExp, string]> = [
  [/^ECONNREFUSED$/, 'nothing listens there: is whochanged running? set --url or WHOCHANGED_URL'],
  [/^(ENOTFOUND|EAI_AGAIN)$/, 'that name leads nowhere: set --url or WHOCHANGED_URL'],
  [/^CERT_HAS_EXPIRED$/, 'its certificate has expired'],
  [/^ERR_TLS_CERT_ALTNAME_INVALID$/, 'its certificate is for other names: use one of them in --url'],
  [
    /^(UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|CERT_)/,
    'its certificate is of a CA that is not trusted here: set --ca-file or WHOCHANGED_CA_FILE (its own CA is tls/ca.crt in its data folder)',
  ],
  [/^(EPROTO|ERR_SSL_)/, 'no TLS is spoken there: is it an http URL?'],
  [/^ECONNRESET$/, 'it hung up: is it an https URL?'],
];

const OTHER_ROLE = 'ask an admin for a token with that role: `whochanged token create NAME --role ROLE`';

export type Query = Record<string, string | number | boolean | string[] | undefined>;

/** The API over HTTP. Every failure becomes a CliError with the problem's own words. */
export class Client {
  readonly #options: ClientOptions;
  #told = false;

  constructor(options: ClientOptions) {
    this.#options = options;
  }

  get url(): string {
    return this.#options.url;
  }

  get<T>(path: string, query: Query = {}): Promise<T> {
    return this.#json('GET', path, query, undefined);
  }

  post<T>(path: string, body: unknown = {}): Promise<T> {
    return this.#json('POST', path, {}, body);
  }

  put<T>(path: string, body: unknown): Promise<T> {
    return this.#json('PUT', path, {}, body);
  }

  delete<T>(path: string): Promise<T> {
    return this.#json('DELETE', path, {}, undefined);
  }

  /** Sends a body of any length; the answer comes when the server has it all. */
  async upload<T>(path: string, query: Query, body: Readable): Promise<T> {
    const response = await this.#send('POST', path, query, body);
    return this.#answer(response);
  }

  /** The answer's body as it comes, for exports; with a body to send, by POST. */
  async *stream(path: string, query: Query, body?: object): AsyncGenerator<Buffer> {
    const response = await this.#loaded(() =>
      this.#send(body === undefined ? 'GET' : 'POST', path, query, body),
    );
    if (response.statusCode !== 200) throw this.#problem(response, await this.#text(response));
    try {
      for await (const chunk of response) yield chunk as Buffer;
    } catch (error) {
      throw this.#broken(error);
    }
  }

  /** The lines of an answer in NDJSON as they come. */
  async *lines<T>(path: string, query: Query, body?: object): AsyncGenerator<T> {
    let rest = '';
    for await (const chunk of this.stream(path, query, body)) {
      const lines = (rest + chunk.toString('utf8')).split('\n');
      rest = lines.pop()!;
      for (const line of lines) yield JSON.parse(line) as T;
    }
  }

  async #json<T>(method: string, path: string, query: Query, body: unknown): Promise<T> {
    return this.#answer(await this.#loaded(() => this.#send(method, path, query, body)));
  }

  /** Asks again while the answer is being read from the archive. */
  async #loaded(ask: () => Promise<IncomingMessage>): Promise<IncomingMessage> {
    for (let attempt = 0; ; attempt++) {
      const response = await ask();
      const wait = Number(response.headers['retry-after']);
      const loading = response.statusCode === 503 && response.headers['whochanged-archived'] === 'loading';
      if (!loading || attempt >= ARCHIVE_ATTEMPTS) {
        this.#tellArchived(response);
        return response;
      }
      if (attempt === 0) this.#note('this is being read from the archive, which takes a while');
      response.resume();
      await new Promise((done) => setTimeout(done, wait * 1000));
    }
  }

  /** What an answer says of the archive, for a person; on stderr, once. */
  #tellArchived({ headers }: IncomingMessage): void {
    const told = headers['whochanged-archived'];
    if (told === undefined || this.#told) return;
    this.#told = true;
    if (told === 'read') this.#note('events of the archive were read for this');
    else if (typeof told === 'string' && told.startsWith('before '))
      this.#note(`what is older than ${told.slice(7)} lies in the archive: ask with --since to read it`);
  }

  #note(text: string): void {
    process.stderr.write(`whochanged: ${text}\n`);
  }

  async #answer<T>(response: IncomingMessage): Promise<T> {
    const text = await this.#text(response);
    const status = response.statusCode ?? 0;
    if (status < 200 || status > 299) throw this.#problem(response, text);
    if (text === '') return undefined as T;
    try {
      return JSON.parse(text) as T;
    } catch {
      throw this.#foreign(`${status}, without JSON`);
    }
  }

  #send(method: string, path: string, query: Query, body: unknown): Promise<IncomingMessage> {
    const { token, ca, certificate } = this.#options;
    const url = new URL(this.url + path);
    for (const [name, value] of Object.entries(query)) {
      for (const item of Array.isArray(value) ? value : [value])
        if (item !== undefined) url.searchParams.append(name, String(item));
    }
    const headers: Record<string, string> = { accept: 'application/json' };
    if (token !== undefined) headers.authorization = `Bearer ${token.value}`;
    const upload = body instanceof Readable ? body : undefined;
    const payload = body === undefined || upload ? undefined : JSON.stringify(body);
    if (upload) headers['content-type'] = 'application/octet-stream';
    else if (payload !== undefined) headers['content-type'] = 'application/json';
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
    return new Promise((resolve, reject) => {
      const request = send(url, { method, headers, ...(ca && { ca }), ...certificate });
      // What is sent in full may take its time.
      const late = upload
        ? undefined
        : setTimeout(() => request.destroy(new Error(`no answer in ${ANSWER_MS / 1000} s`)), ANSWER_MS);
      request.on('response', (response) => {
        clearTimeout(late);
        resolve(response);
      });
      request.on('error', (error: NodeJS.ErrnoException) => {
        clearTimeout(late);
        const reason = error.code ?? error.message;
        const advice = ADVICE.find(([code]) => code.test(reason))?.[1];
        reject(
          new CliError(
            EXIT.failed,
            `cannot reach ${this.url}: ${reason}`,
            advice ?? 'is whochanged running there? set --url or WHOCHANGED_URL',
          ),
        );
      });
      if (!upload) {
        request.end(payload);
        return;
      }
      upload.on('error', (error) => request.destroy(error));
      // A refusal may come before all is sent: then the rest isn't.
      request.on('response', () => upload.unpipe(request));
      upload.pipe(request);
    });
  }

  async #text(response: IncomingMessage): Promise<string> {
    let text = '';
    response.setEncoding('utf8');
    try {
      for await (const chunk of response) text += chunk as string;
    } catch (error) {
      throw this.#broken(error);
    }
    return text;
  }

  #broken(error: unknown): CliError {
    return new CliError(
      EXIT.failed,
      `the connection to ${this.url} broke in mid-answer: ${(error as Error).message}`,
      'try again',
    );
  }

  #foreign(answer: string): CliError {
    return new CliError(
      EXIT.failed,
      `${this.url} answered ${answer}: that is not whochanged`,
      'set --url or WHOCHANGED_URL to where it serves its API',
    );
  }

  #problem({ statusCode: status = 0, headers }: IncomingMessage, text: string): CliError {
    let problem: { detail?: string; hint?: string; code?: string };
    try {
      problem = JSON.parse(text) as typeof problem;
    } catch {
      problem = {};
    }
    if (status === 401) return this.#unauthenticated(problem.detail);
    if (status === 403)
      return new CliError(EXIT.auth, problem.detail ?? 'that is not allowed', problem.hint ?? OTHER_ROLE);
    // Something else answers there, or a proxy before it.
    if (problem.code === undefined) return this.#foreign(String(status));
    const retryAfter = Number.parseInt(headers['retry-after'] ?? '', 10) || undefined;
    const later = status >= 500 || status === 429 || retryAfter !== undefined;
    const exitCode = status === 404 ? EXIT.notFound : later ? EXIT.failed : EXIT.usage;
    return new CliError(
      exitCode,
      problem.detail ?? `the server answered ${status}`,
      problem.hint,
      retryAfter,
    );
  }

  #unauthenticated(detail: string | undefined): CliError {
    const { token, certificate } = this.#options;
    if (token === undefined && certificate !== undefined)
      return new CliError(
        EXIT.auth,
        detail ?? `the client certificate is not valid at ${this.url}`,
        'it is sent over https only; `whochanged whoami` tells who you are there',
      );
    if (token === undefined)
      return new CliError(
        EXIT.auth,
        `${this.url} wants a token, and none is set`,
        'set WHOCHANGED_TOKEN_FILE or --token-file to a file with a token; the first one is in the file admin-token in the server\u2019s data folder',
      );
    return new CliError(
      EXIT.auth,
      `the token from ${token.from} is not valid at ${this.url}, or no longer`,
      'ask an admin for a new one: `whochanged token create NAME`',
    );
  }
}
