import { randomUUID } from 'node:crypto';
import fastify, { type FastifyInstance, LogController } from 'fastify';
import type { Logger } from 'pino';
import { setProblemHandler } from '../api/problem.js';
import type { GateParts } from '../ingest/admission/gate.js';
import { registerAdmission } from '../ingest/admission/route.js';
import { registerWebhook, type WebhookParts } from '../ingest/webhook/route.js';
import type { TlsMaterial } from './tls.js';

/** The apiserver's webhook client keeps connections open and waits 30 s for an answer. */
const KEEP_ALIVE_MS = 90_000;
const HEADERS_TIMEOUT_MS = 20_000;
/** The longest a body may take to arrive, but for imports: slow senders don't hold memory for ever. */
const REQUEST_TIMEOUT_MS = 300_000;

export interface ServerParts {
  log: Logger;
  tls: TlsMaterial | undefined;
  webhook: WebhookParts | undefined;
  gate?: GateParts | undefined;
  registerApi: ((server: FastifyInstance) => Promise<void>) | undefined;
}

/** One listener with the routes of this process's roles; over TLS when `tls` is given. */
export async function buildServer(parts: ServerParts): Promise<FastifyInstance> {
  const shared = {
    loggerInstance: parts.log,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: () => randomUUID(),
    keepAliveTimeout: KEEP_ALIVE_MS,
    // Told per route, below: an import may take hours.
    requestTimeout: 0,
    http: { headersTimeout: HEADERS_TIMEOUT_MS },
    trustProxy: false,
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
          headersTimeout: HEADERS_TIMEOUT_MS,
        },
      }) as unknown as FastifyInstance)
    : (fastify(shared) as unknown as FastifyInstance);
  setProblemHandler(server);
  server.addHook('onRequest', (request, _reply, done) => {
    if (!(request.routeOptions.config as { longBody?: boolean }).longBody) {
      const timer = setTimeout(() => request.raw.destroy(), REQUEST_TIMEOUT_MS).unref();
      request.raw.once('end', () => clearTimeout(timer)).once('close', () => clearTimeout(timer));
    }
    done();
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
