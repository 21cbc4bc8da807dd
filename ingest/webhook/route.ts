import type { Readable } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { WhochangedError } from '../../core/errors.js';
import { type Receiver, receiveBody } from './receive.js';
import type { PresentedCredential, SourceRegistry } from './source-registry.js';

export interface WebhookParts {
  registry: SourceRegistry;
  receiver: Receiver;
}

/**
 * `POST /ingest/v1/audit/{source}`: where kube-apiserver's audit webhook backend posts
 * (k8s.io/apiserver/plugin/pkg/audit/webhook). 200 only once every event is durable. The apiserver retries any error
 * a few times and then loses the whole batch, so nothing in a batch but its absence of events is answered by an error.
 */
export async function registerWebhook(
  server: FastifyInstance,
  { registry, receiver }: WebhookParts,
): Promise<void> {
  // The body is read as a stream, whatever its type says.
  server.removeAllContentTypeParsers();
  server.addContentTypeParser('*', (_request, payload, done) => done(null, payload));

  server.post<{ Params: { source: string } }>(
    '/ingest/v1/audit/:source',
    {
      bodyLimit: receiver.maxBodyBytes,
      schema: { hide: true } as never,
      config: { rateLimit: false } as never,
    },
    async (request, reply) => {
      const started = performance.now();
      const source = await registry.authenticate(request.params.source, presentedBy(request));
      try {
        const body = request.body as Readable | undefined;
        const received = await receiveBody(
          body ?? request.raw,
          request.headers['content-encoding'],
          source,
          receiver,
        );
        receiver.metrics.batches.inc({
          source: source.name,
          result: received.spooled > 0 ? 'spooled' : 'stored',
        });
        receiver.metrics.ackSeconds.observe((performance.now() - started) / 1000);
        return received;
      } catch (error) {
        receiver.metrics.batches.inc({ source: source.name, result: 'refused' });
        receiver.onRefused(source.sourceID, error instanceof WhochangedError ? error.code : 'internal');
        // The rest of the body was not read: the next request on this connection could not be found.
        reply.header('connection', 'close');
        throw error;
      }
    },
  );
}

/** The credential that a request carries. */
export function presentedBy(request: FastifyRequest): PresentedCredential {
  const presented: PresentedCredential = {};
  const match = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '');
  if (match) presented.token = match[1]!;
  const socket = request.raw.socket as Partial<TLSSocket>;
  const certificate = socket.getPeerCertificate?.();
  if (certificate?.raw) presented.certificate = certificate.raw;
  return presented;
}
