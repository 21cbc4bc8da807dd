import { readFileSync } from 'node:fs';
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { CliError, EXIT } from './exit.js';

export interface ClientOptions {
  url: string;
  token: string | undefined;
  ca: Buffer | undefined;
}

export interface ConnectionFlags {
  url?: string;
  tokenFile?: string;
  caFile?: string;
}

/** Where the API is and with which token: flags over environment over the usual files. */
export function clientOptions(flags: ConnectionFlags, environment: NodeJS.ProcessEnv): ClientOptions {
  const url = flags.url ?? environment.WHOCHANGED_URL ?? 'http://127.0.0.1:8080';
  if (!URL.canParse(url) || !/^https?:/.test(url))
    throw new CliError(
      EXIT.usage,
      `"${url}" is no http(s) URL`,
      'set --url or WHOCHANGED_URL, such as https://whochanged.example.com',
    );
  const caFile = flags.caFile ?? environment.WHOCHANGED_CA_FILE;
  return {
    url: url.replace(/\/+$/, ''),
    token: findToken(flags, environment),
    ca: caFile === undefined ? undefined : readRequired(caFile),
  };
}

function findToken(flags: ConnectionFlags, environment: NodeJS.ProcessEnv): string | undefined {
  if (flags.tokenFile !== undefined) return readRequired(flags.tokenFile).toString('utf8').trim();
  if (environment.WHOCHANGED_TOKEN) return environment.WHOCHANGED_TOKEN;
  if (environment.WHOCHANGED_TOKEN_FILE)
    return readRequired(environment.WHOCHANGED_TOKEN_FILE).toString('utf8').trim();
  for (const path of [join(homedir(), '.config/whochanged/token'), join('data', 'admin-token')]) {
    try {
      return readFileSync(path, 'utf8').trim();
    } catch {
      // Not there: the next one, or none.
    }
  }
  return undefined;
}

function readRequired(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new CliError(EXIT.usage, `cannot read ${path}: ${(error as Error).message}`);
  }
}

export type Query = Record<string, string | number | boolean | string[] | undefined>;

/** The API over HTTP. Every failure becomes a CliError with the problem's own words. */
export class Client {
  readonly #options: ClientOptions;

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

  delete<T>(path: string): Promise<T> {
    return this.#json('DELETE', path, {}, undefined);
  }

  /** The answer's body as a stream, for exports. */
  async stream(path: string, query: Query): Promise<IncomingMessage> {
    const response = await this.#send('GET', path, query, undefined);
    if (response.statusCode === 200) return response;
    throw problemError(response.statusCode ?? 0, await textOf(response));
  }

  async #json<T>(method: string, path: string, query: Query, body: unknown): Promise<T> {
    const response = await this.#send(method, path, query, body);
    const text = await textOf(response);
    const status = response.statusCode ?? 0;
    if (status < 200 || status > 299) throw problemError(status, text);
    return (text === '' ? undefined : JSON.parse(text)) as T;
  }

  #send(method: string, path: string, query: Query, body: unknown): Promise<IncomingMessage> {
    const url = new URL(this.#options.url + path);
    for (const [name, value] of Object.entries(query)) {
      for (const item of Array.isArray(value) ? value : [value])
        if (item !== undefined) url.searchParams.append(name, String(item));
    }
    const headers: Record<string, string> = { accept: 'application/json' };
    if (this.#options.token !== undefined) headers.authorization = `Bearer ${this.#options.token}`;
    const payload = body === undefined ? undefined : JSON.stringify(body);
    if (payload !== undefined) headers['content-type'] = 'application/json';
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
    return new Promise((resolve, reject) => {
      const request: ClientRequest = send(
        url,
        { method, headers, ...(this.#options.ca && { ca: this.#options.ca }) },
        resolve,
      );
      request.on('error', (error: NodeJS.ErrnoException) =>
        reject(
          new CliError(
            EXIT.failed,
            `cannot reach ${this.#options.url}: ${error.code ?? error.message}`,
            'is it running there? set --url or WHOCHANGED_URL, and --ca-file for a certificate of its own CA',
          ),
        ),
      );
      request.end(payload);
    });
  }
}

async function textOf(response: IncomingMessage): Promise<string> {
  let text = '';
  response.setEncoding('utf8');
  for await (const chunk of response) text += chunk as string;
  return text;
}

function problemError(status: number, text: string): CliError {
  let problem: { detail?: string; hint?: string } = {};
  try {
    problem = JSON.parse(text) as typeof problem;
  } catch {
    // Not our API's words: the status has to do.
  }
  const exitCode =
    status === 401 || status === 403
      ? EXIT.auth
      : status === 404
        ? EXIT.notFound
        : status < 500 && status > 0
          ? EXIT.usage
          : EXIT.failed;
  return new CliError(exitCode, problem.detail ?? `the server answered ${status}`, problem.hint);
}
