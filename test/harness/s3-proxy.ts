import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';

/** A request on its way to the S3 server. */
export interface PassingRequest {
  method: string;
  /** Bucket and key, decoded; '' as key where the bucket itself is asked. */
  bucket: string;
  key: string;
  range: string | undefined;
  /** What is asked of it besides: `?object-lock`. */
  query: string;
  headers: IncomingHttpHeaders;
}

/** What happens to it. Undefined: it passes. */
export type Treatment =
  | undefined
  /** An error as S3 answers it (AmazonS3 API, "REST error responses"). */
  | { status: number; code: string; message?: string }
  /** An answer in the server's place. */
  | { xml: string }
  /** It passes, and the answer bears these headers too. */
  | { adding: Record<string, string> }
  /** The connection breaks after so many bytes of the body, once `until` is done. */
  | { cutAfter: number; until?: Promise<void> };

export interface S3Proxy {
  endpoint: string;
  /** Decides what happens to each request from now on. */
  treat(decide: (request: PassingRequest) => Treatment): void;
  /** Those that have come, in order. */
  requests: PassingRequest[];
  stop(): Promise<void>;
}

/** Stands before a real S3 server and lets happen what that can't be made to do: throttle, deny, break off. */
export async function startS3Proxy(target: string): Promise<S3Proxy> {
  const { hostname, port } = new URL(target);
  let decide: (request: PassingRequest) => Treatment = () => undefined;
  const requests: PassingRequest[] = [];
  const server = createServer((incoming, answer) => {
    const { pathname, search: query } = new URL(incoming.url!, target);
    const [bucket = '', ...key] = decodeURIComponent(pathname).slice(1).split('/');
    const { headers } = incoming;
    const passing = {
      method: incoming.method!,
      bucket,
      key: key.join('/'),
      range: headers.range,
      query,
      headers,
    };
    requests.push(passing);
    const treatment = decide(passing);
    if (treatment && 'xml' in treatment) answer.writeHead(200).end(treatment.xml);
    else if (treatment && 'status' in treatment) refuse(incoming, answer, treatment);
    else pass(incoming, answer, { hostname, port }, treatment ?? {});
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    treat: (decision) => {
      decide = decision;
    },
    requests,
    stop: async () => {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}

function refuse(
  incoming: IncomingMessage,
  answer: ServerResponse,
  { status, code, message = code }: { status: number; code: string; message?: string },
): void {
  incoming.resume();
  answer.writeHead(status, { 'content-type': 'application/xml' });
  answer.end(
    `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>${message}</Message></Error>`,
  );
}

function pass(
  incoming: IncomingMessage,
  answer: ServerResponse,
  target: { hostname: string; port: string },
  { adding, cutAfter, until }: { adding?: Record<string, string>; cutAfter?: number; until?: Promise<void> },
): void {
  const { method, url: path, headers } = incoming;
  const outgoing = request({ ...target, method, path, headers }, async (response) => {
    answer.writeHead(response.statusCode!, { ...response.headers, ...adding });
    if (cutAfter === undefined) {
      response.pipe(answer);
      return;
    }
    let passed = 0;
    for await (const chunk of response) {
      answer.write((chunk as Buffer).subarray(0, cutAfter - passed));
      passed += (chunk as Buffer).length;
      if (passed >= cutAfter) break;
    }
    await until;
    answer.destroy();
  });
  outgoing.on('error', () => answer.destroy());
  answer.on('close', () => outgoing.destroy());
  incoming.pipe(outgoing);
}
