import type { FastifyInstance } from 'fastify';
import { readAdmissionReview } from '../../core/gate/admission-review.js';
import { admissionReview, readGatePath } from '../../core/gate/decision.js';
import { presentedBy } from '../webhook/route.js';
import type { SourceRegistry } from '../webhook/source-registry.js';
import { decide, type GateParts } from './gate.js';

/** Two objects of at most 1.5 MiB (etcd's limit) each, with room for what JSON adds. */
const BODY_LIMIT = 16 * 1024 * 1024;

/**
 * `POST /admission/v1/{source or cluster}/{settings}`: what ValidatingAdmissionWebhook asks. An error, of whatever kind,
 * is the apiserver's failurePolicy's to answer; what we can't decide we answer ourselves, by the settings in the path.
 */
export async function registerAdmission(
  server: FastifyInstance,
  registry: SourceRegistry,
  gate: GateParts,
): Promise<void> {
  server.post<{ Params: { source: string; '*': string } }>(
    '/admission/v1/:source/*',
    { bodyLimit: BODY_LIMIT, schema: { hide: true } as never, config: { rateLimit: false } as never },
    async (request) => {
      const source = await registry.authenticateAny(request.params.source, presentedBy(request));
      const settings = readGatePath(request.params['*']);
      const asked = readAdmissionReview(request.body);
      return admissionReview(asked.uid, await decide(asked, source, settings, gate));
    },
  );
}
