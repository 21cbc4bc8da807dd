import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import { createInterface } from 'node:readline';

const TIMEOUT_MS = 15_000;
/** An apiserver of a large cluster answers tens of megabytes of metrics. */
const MAX_BYTES = 256 * 1024 * 1024;

/** Where an apiserver is, and as whom to ask it. PEM texts and a token. */
export interface Connection {
  url: string;
  token?: string | undefined;
  ca?: string | undefined;
  cert?: string | undefined;
  key?: string | undefined;
  /** What its certificate is for, where that is not the URL's host. */
  serverName?: string | undefined;
}

export interface Answered {
  status: number;
  /** The apiserver's clock when it began to answer, in whole seconds; microseconds since the epoch. */
  date: number | undefined;
  /** From the request to the answer's first byte. */
  answeredMs: number;
}

/**
 * Asks an apiserver over a connection of its own, and gives the answer's body line by line. A token goes over https only,
 * or to this machine; redirects are not followed, since credentials would go with them.
 */
export async function askApiserver(
  connection: Connection,
  asked: { method: string; headers?: Record<string, string>; body?: string; signal: AbortSignal },
  take: (line: string) => void,
): Promise<Answered> {
  const url = new URL(connection.url);
  const secure = url.protocol === 'https:';
  if (!secure && connection.token !== undefined && !isLoopback(url.hostname))
    throw new Error(`${url.origin} is not https: the token was not sent`);
  const options: RequestOptions = {
    method: asked.method,
    agent: false,
    headers: {
      'user-agent': 'whochanged/completeness',
      ...(connection.token !== undefined && { authorization: `Bearer ${connection.token}` }),
      ...(asked.body !== undefined && { 'content-length': String(Buffer.byteLength(asked.body)) }),
      ...asked.headers,
    },
    ...(secure && { ca: connection.ca, cert: connection.cert, key: connection.key }),
    ...(secure && connection.serverName !== undefined && { servername: connection.serverName }),
    signal: AbortSignal.any([asked.signal, AbortSignal.timeout(TIMEOUT_MS)]),
  };
  const sentAt = performance.now();
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const request = (secure ? httpsRequest : httpRequest)(url, options, resolve);
    request.on('error', (error) => reject(new Error(failureOf(error, url))));
    request.end(asked.body);
  });
  const answeredMs = Math.ceil(performance.now() - sentAt);
  try {
    await readLines(response, take);
  } catch (error) {
    throw new Error(failureOf(error as Error, url));
  }
  const date = Date.parse(response.headers.date ?? '');
  return { status: response.statusCode ?? 0, date: Number.isNaN(date) ? undefined : date * 1000, answeredMs };
}

async function readLines(response: IncomingMessage, take: (line: string) => void): Promise<void> {
  let bytes = 0;
  response.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > MAX_BYTES) response.destroy(new Error(`the answer is larger than ${MAX_BYTES} bytes`));
  });
  for await (const line of createInterface({ input: response, crlfDelay: Number.POSITIVE_INFINITY }))
    take(line);
  if (!response.complete) throw new Error('the answer broke off');
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || /^127\./.test(host);
}

/** What went wrong, without anything of the request. */
function failureOf(error: Error & { code?: string }, url: URL): string {
  if (error.name === 'TimeoutError' || error.name === 'AbortError')
    return `${url.origin} did not answer within ${TIMEOUT_MS / 1000} s`;
  return `${url.origin}: ${error.code ?? error.message}`;
}
