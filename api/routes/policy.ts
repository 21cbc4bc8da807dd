import { Readable } from 'node:stream';
import { Type } from 'typebox';
import { WhochangedError } from '../../core/errors.js';
import { findPolicies } from '../../store/policies.js';
import { readPolicyText } from '../../store/policy-text.js';
import { findClusters } from '../../store/queries/change-filter.js';
import { testPolicy } from '../../store/verdicts/test-policy.js';
import type { Api } from '../api.js';
import { listOf, many } from '../list-query.js';
import { readTime } from '../times.js';

const TAGS = ['policy'];
const Body = Type.Object({
  text: Type.String({ description: 'the policy file', maxLength: 1024 * 1024 }),
  name: Type.Optional(Type.String({ description: 'how messages are to call it', maxLength: 300 })),
});
const Version = Type.Object({ name: Type.String(), version: Type.String(), digest: Type.String() });

export function policyRoutes({ server, deps, auth }: Api): void {
  server.get(
    '/v1/policy',
    {
      onRequest: auth.require('reader'),
      schema: {
        tags: TAGS,
        summary: 'The policy that verdicts are made by now, and all that any was made by',
        response: {
          200: Type.Object({
            ...Version.properties,
            builtIn: Type.Boolean(),
            text: Type.Optional(Type.String({ description: 'the file; the built-in policy has none' })),
            document: Type.Unknown({ description: 'the policy as it was read, with defaults' }),
            used: Type.Array(Type.Object({ ...Version.properties, firstUsedAt: Type.String() })),
          }),
        },
      },
    },
    async () => {
      const { policy, version, digest, text } = await deps.judging.policy();
      const used = await findPolicies(deps.pool);
      return {
        name: policy.name,
        version,
        digest,
        builtIn: text === undefined,
        ...(text !== undefined && { text }),
        document: policy,
        used: used.map(({ document: _, text: __, ...item }) => item),
      };
    },
  );

  server.post(
    '/v1/policy/check',
    {
      onRequest: auth.require('reader'),
      schema: {
        tags: TAGS,
        summary: 'Whether a policy file is valid; every problem with its line',
        body: Body,
        response: { 200: Type.Object({ ...Version.properties, environments: Type.Array(Type.String()) }) },
      },
    },
    async ({ body }) => {
      const { policy, version, digest } = readPolicyText(body.text, body.name ?? 'the policy');
      const environments = [...policy.environments, policy.fallback].map(({ name }) => name);
      return { name: policy.name, version, digest, environments };
    },
  );

  server.post(
    '/v1/policy/test',
    {
      onRequest: auth.require('operator'),
      schema: {
        tags: TAGS,
        summary:
          'What a policy would have said of history; nothing is written. NDJSON: changes, progress, a summary',
        querystring: Type.Object({
          cluster: many(Type.String()),
          since: Type.Optional(Type.String({ description: 'RFC 3339, or 30m, 2h, 7d ago; 7d unless told' })),
          until: Type.Optional(Type.String({ description: 'not included' })),
        }),
        body: Body,
      },
    },
    async (request, reply) => {
      const { query, body } = request;
      const policy = readPolicyText(body.text, body.name ?? 'the policy');
      const since = readTime('since', query.since ?? '7d')!;
      const until = readTime('until', query.until);
      const clusters = await findClusters(deps.db, listOf(query.cluster));
      const missing = listOf(query.cluster)?.find((name) => clusters.every((one) => one.name !== name));
      if (missing !== undefined) throw new WhochangedError('not_found', `no cluster is called ${missing}`);
      const found = testPolicy(deps.pool, clusters, { since, until }, policy, deps.judging);
      const lines = async function* () {
        for await (const item of found) yield `${JSON.stringify(item)}\n`;
      };
      return reply.type('application/x-ndjson').send(Readable.from(lines()));
    },
  );
}
