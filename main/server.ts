import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import fastify, { type FastifyInstance, LogController } from 'fastify';
import type { Logger } from 'pino';
import { sendRouterProblem, setProblemHandler } from '../api/problem.js';
import type { GateParts } from '../ingest/admission/gate.js';
import { registerAdmission } from '../ingest/admission/route.js';
import { registerWebhook, type WebhookParts } from '../ingest/webhook/route.js';
import type { TlsMaterial } from './tls.js';

/** The apiserver's webhook client keeps connections open and waits 30 s for an answer. */
const KEEP_ALIVE_MS = 90_000;
/** How often node looks for connections whose headers are late; its default would add half a minute to the limit. */
const LATE_CHECK_MS = 1000;

/** The longest part of a path: a username has no bound in Kubernetes, an object's name has 253 characters. */
const MAX_PARAMETER = 2048;

export interface Timeouts {
  /** The longest that headers, and bodies but for imports, may take to arrive: slow senders don't hold memory for ever. */
  headersSeconds: number;
  bodySeconds: number;
  /** The longest that a streamed answer may wait for its reader: it holds a connection to Postgres meanwhile. */
  stalledSeconds: number;
}

export interface ServerParts {
  log: Logger;
  tls: TlsMaterial | undefined;
  timeouts: Timeouts;
  webhook: WebhookParts | undefined;
  gate?: GateParts | undefined;
  registerApi: ((server: FastifyInstance) => Promise<void>) | undefined;
}

/** One listener with the routes of this process's roles; over TLS when `tls` is given. */
export async function buildServer(parts: ServerParts): Promise<FastifyInstance> {
  const { headersSeconds, bodySeconds, stalledSeconds } = parts.timeouts;
  const http = { headersTimeout: headersSeconds * 1000, connectionsCheckingInterval: LATE_CHECK_MS };
  const shared = {
    loggerInstance: parts.log,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: () => randomUUID(),
    keepAliveTimeout: KEEP_ALIVE_MS,
    // Told per route, below: an import may take hours.
    requestTimeout: 0,
    http,
    trustProxy: false,
    routerOptions: { maxParamLength: MAX_PARAMETER },
    frameworkErrors: sendRouterProblem as never,
    return503OnClosing: true,
    forceCloseConnections: 'idle' as const,
  };
  const pair = parts.tls?.current();
  const server = pair
    ? (fastify({
        ...shared,
        https: {
          cert: pair.certificatePem,
          key: pair.keyPem,
          minVersion: 'TLSv1.2',
          // Certificates are pinned per source (ingest/webhook/source-registry.ts), so any may be presented.
          requestCert: true,
          rejectUnauthorized: false,
          ...http,
        },
      }) as unknown as FastifyInstance)
    : (fastify(shared) as unknown as FastifyInstance);
  setProblemHandler(server);
  server.addHook('onRequest', (request, _reply, done) => {
    if (!(request.routeOptions.config as { longBody?: boolean }).longBody) {
      const timer = setTimeout(() => request.raw.destroy(), bodySeconds * 1000).unref();
      request.raw.once('end', () => clearTimeout(timer)).once('close', () => clearTimeout(timer));
    }
    done();
  });
  server.addHook('onSend', async (_request, reply, payload) => {
    if (payload instanceof Readable) endWhereStalled(reply.raw, stalledSeconds * 1000);
    return payload;
  });
  const { webhook, gate } = parts;
  if (webhook) await server.register(async (scope) => registerWebhook(scope, webhook));
  if (webhook && gate)
    await server.register(async (scope) => registerAdmission(scope, webhook.registry, gate));
  if (parts.registerApi) await parts.registerApi(server);
  parts.tls?.onChange((next) => {
    (
      server.server as unknown as { setSecureContext(options: { cert: string; key: string }): void }
    ).setSecureContext({ cert: next.certificatePem, key: next.keyPem });
  });
  return server;
}

/** Closes the connection of a reader that has taken nothing for so long. */
function endWhereStalled(response: ServerResponse, milliseconds: number): void {
  let progressed = performance.now();
  response.on('drain', () => {
    progressed = performance.now();
  });
  const timer = setInterval(() => {
    if (!response.writableNeedDrain) progressed = performance.now();
    else if (performance.now() - progressed > milliseconds) response.destroy();
  }, milliseconds / 4).unref();
  response.once('close', () => clearInterval(timer));
}
