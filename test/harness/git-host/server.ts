import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What a face of a host answers. `list`: to be paged. */
export interface HostAnswer {
  status?: number;
  body?: unknown;
  list?: unknown[];
  headers?: Record<string, string>;
}

export interface HostRequest {
  method: string;
  /** Without the query. */
  path: string;
  query: URLSearchParams;
  headers: IncomingMessage['headers'];
  body: string;
}

/** How each host speaks, apart from its routes. */
export interface HostFace {
  /** Undefined: it may go on. */
  refuse(request: HostRequest): HostAnswer | undefined;
  answer(request: HostRequest): HostAnswer | undefined;
  /** Headers that tell of the pages of a list. */
  pages(page: { url: URL; number: number; perPage: number; total: number }): Record<string, string>;
  rateHeaders(rate: Rate): Record<string, string>;
  limited(rate: Rate): HostAnswer;
  /** Written before every JSON body. */
  prefix?: string;
  perPage: { parameter: string; standard: number };
  /** A list that is not paged by numbers. */
  cursor?(
    list: unknown[],
    request: HostRequest,
  ): { slice: unknown[]; headers: Record<string, string> } | undefined;
}

export interface Rate {
  limit: number;
  remaining: number;
  /** Unix seconds. */
  reset: number;
}

export interface LoggedRequest {
  method: string;
  /** With its query. */
  url: string;
  status: number;
}

/** An answer given instead of the real one, for as many requests as `times`. */
export interface Fault {
  path: RegExp;
  times: number;
  status: number;
  headers?: Record<string, string>;
  body?: unknown;
}

export interface RunningHost {
  /** The base that hosts call their API URL. */
  origin: string;
  requests: LoggedRequest[];
  faults: Fault[];
  rate: Rate;
  stop(): Promise<void>;
}

/** Serves a face on 127.0.0.1, with tags, pages, rate limits, and whatever faults a test asks for. */
export async function serveHost(face: HostFace): Promise<RunningHost> {
  const requests: LoggedRequest[] = [];
  const faults: Fault[] = [];
  const rate: Rate = { limit: 5000, remaining: 5000, reset: Math.floor(Date.now() / 1000) + 3600 };
  const server = createServer((incoming, outgoing) => {
    void respond(incoming, outgoing).catch((error: Error) => {
      outgoing.writeHead(500).end(error.stack);
    });
  });

  async function respond(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    let body = '';
    for await (const chunk of incoming) body += chunk as string;
    const url = new URL(incoming.url!, `http://${incoming.headers.host}`);
    const request: HostRequest = {
      method: incoming.method!,
      path: url.pathname,
      query: url.searchParams,
      headers: incoming.headers,
      body,
    };
    const log = (status: number) => {
      requests.push({ method: request.method, url: url.pathname + url.search, status });
    };
    const send = (answer: HostAnswer, headers: Record<string, string> = {}) => {
      const status = answer.status ?? 200;
      log(status);
      const text = `${face.prefix ?? ''}${JSON.stringify(answer.body ?? answer.list ?? null)}`;
      outgoing.writeHead(status, {
        'content-type': 'application/json; charset=utf-8',
        ...headers,
        ...answer.headers,
      });
      outgoing.end(text);
    };

    const fault = faults.find((one) => one.times > 0 && one.path.test(url.pathname));
    if (fault) {
      fault.times--;
      send({
        status: fault.status,
        body: fault.body ?? { message: 'a fault' },
        headers: fault.headers ?? {},
      });
      return;
    }
    const refused = face.refuse(request);
    if (refused) return send(refused);
    if (rate.remaining <= 0) return send(face.limited(rate), face.rateHeaders(rate));
    const answer = face.answer(request) ?? { status: 404, body: { message: 'Not Found' } };
    let headers: Record<string, string> = {};
    if (answer.list) {
      const paged = face.cursor?.(answer.list, request);
      if (paged) {
        answer.list = paged.slice;
        headers = paged.headers;
      } else {
        const perPage = Number(url.searchParams.get(face.perPage.parameter) ?? face.perPage.standard);
        const number = Number(url.searchParams.get('page') ?? 1);
        headers = face.pages({ url, number, perPage, total: answer.list.length });
        answer.list = answer.list.slice((number - 1) * perPage, number * perPage);
      }
    }
    const content = JSON.stringify(answer.body ?? answer.list ?? null);
    const etag = `W/"${createHash('sha256').update(content).digest('hex')}"`;
    headers = { ...headers, etag };
    if (incoming.headers['if-none-match'] === etag) {
      log(304);
      outgoing.writeHead(304, { ...headers, ...face.rateHeaders(rate) }).end();
      return;
    }
    rate.remaining--;
    send(answer, { ...headers, ...face.rateHeaders(rate) });
  }

  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    faults,
    rate,
    stop: () =>
      new Promise((done, fail) => {
        server.close((error) => (error ? fail(error) : done()));
        server.closeAllConnections();
      }),
  };
}
