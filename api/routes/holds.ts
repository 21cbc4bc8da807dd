import { type Static, Type } from 'typebox';
import { WhochangedError } from '../../core/errors.js';
import { resourceOf } from '../../core/resource-names.js';
import { createHold, findHolds, type LegalHold, releaseHold } from '../../store/holds.js';
import type { Api } from '../api.js';
import { readTime } from '../times.js';

const Nullable = Type.Union([Type.String(), Type.Null()]);
const Hold = Type.Object(
  {
    id: Type.Integer(),
    cluster: Nullable,
    namespace: Nullable,
    group: Type.Union([Type.String(), Type.Null()], { description: "'' for the core group" }),
    resource: Nullable,
    name: Nullable,
    actor: Type.Union([Type.String(), Type.Null()], { description: 'user or impersonatedUser' }),
    since: Nullable,
    until: Nullable,
    reason: Type.String(),
    createdAt: Type.String(),
    createdBy: Type.String(),
    releasedAt: Nullable,
    releasedBy: Nullable,
    releaseReason: Nullable,
  },
  { description: 'null: of all. What it covers is neither dropped nor erased until it is released' },
);
const Reason = Type.String({
  minLength: 3,
  maxLength: 1000,
  pattern: '\\S',
  description: 'why, for whoever asks later',
});
const Params = Type.Object({ id: Type.Integer({ minimum: 1, maximum: 2_147_483_647 }) });
const TAGS = ['retention'];

function holdItem({ apiGroup, username, ...hold }: LegalHold): Static<typeof Hold> {
  return { ...hold, group: apiGroup, actor: username };
}

export function holdRoutes({ server, deps, auth }: Api): void {
  server.get(
    '/v1/holds',
    {
      onRequest: auth.require('reader'),
      schema: {
        tags: TAGS,
        summary: 'Legal holds, the newest first',
        querystring: Type.Object({
          released: Type.Optional(Type.Boolean({ description: 'those that were released too' })),
        }),
        response: { 200: Type.Object({ items: Type.Array(Hold) }) },
      },
    },
    async ({ query }) => ({ items: (await findHolds(deps.pool, query.released ?? false)).map(holdItem) }),
  );

  const Name = Type.Optional(Type.String({ minLength: 1, maxLength: 253 }));
  const Create = Type.Object({
    cluster: Name,
    namespace: Name,
    resource: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 253,
        description: 'deployments, Deployment, deploy, deployments.apps',
      }),
    ),
    name: Name,
    actor: Type.Optional(Type.String({ minLength: 1, maxLength: 1000, description: 'the very username' })),
    since: Type.Optional(Type.String({ description: 'of requestReceivedTimestamp; RFC 3339, or 7d ago' })),
    until: Type.Optional(Type.String({ description: 'not included' })),
    everything: Type.Optional(Type.Boolean({ description: 'where nothing else is named' })),
    reason: Reason,
  });
  server.post(
    '/v1/holds',
    {
      onRequest: auth.require('admin'),
      schema: {
        tags: TAGS,
        summary:
          'Hold events and changes: they stay, whatever the policy says and whoever asks for their erasure',
        body: Create,
        response: { 201: Hold },
      },
    },
    async (request, reply) => {
      const { reason, everything, resource, ...named } = request.body;
      if (resource === undefined && Object.keys(named).length === 0 && !everything)
        throw new WhochangedError('invalid_request', 'nothing is named that is to be held', {
          hint: 'name a cluster, namespace, resource, name, actor or time, or say everything=true',
        });
      const kind = resource === undefined ? undefined : resourceOf(resource);
      const since = readTime('since', named.since) ?? null;
      const until = readTime('until', named.until) ?? null;
      if (since !== null && until !== null && since >= until)
        throw new WhochangedError('invalid_request', 'until: expected a time after since');
      const scope = {
        cluster: named.cluster ?? null,
        namespace: named.namespace ?? null,
        apiGroup: kind?.group ?? null,
        resource: kind?.resource ?? null,
        name: named.name ?? null,
        username: named.actor ?? null,
        since,
        until,
      };
      const hold = await createHold(deps.pool, scope, reason, request.caller!.name);
      if (!hold) throw new WhochangedError('not_found', `no cluster is called "${named.cluster}"`);
      return reply.code(201).send(holdItem(hold));
    },
  );

  server.post(
    '/v1/holds/:id/release',
    {
      onRequest: auth.require('admin'),
      schema: {
        tags: TAGS,
        summary: 'Release a hold: what it covered follows the policy again',
        params: Params,
        body: Type.Object({ reason: Reason }),
        response: { 200: Hold },
      },
    },
    async (request) => {
      const { id } = request.params;
      const hold = await releaseHold(deps.pool, id, request.body.reason, request.caller!.name);
      if (!hold) throw new WhochangedError('not_found', `no hold that was not released has the id ${id}`);
      return holdItem(hold);
    },
  );
}
