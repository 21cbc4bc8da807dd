import { Type } from 'typebox';
import { CALLER_KINDS } from '../../core/access/grants.js';
import { ROLES } from '../../core/vocabulary.js';
import { accessEventOf, findAccessEvents } from '../../store/access-events.js';
import type { Api } from '../api.js';
import { pageSchema, words } from '../change-schema.js';
import { readTime } from '../times.js';

const Names = Type.Union([Type.Array(Type.String()), Type.Null()], { description: 'null: all' });
export const GrantSchema = Type.Object({ role: words(ROLES), clusters: Names, namespaces: Names });
const AccessEventSchema = Type.Object({
  seq: Type.String(),
  at: Type.String(),
  caller: Type.String({ description: 'empty where nobody could be told' }),
  callerKind: words(CALLER_KINDS),
  role: Type.Union([Type.String(), Type.Null()]),
  clusters: Names,
  namespaces: Names,
  grants: Type.Union([Type.Array(GrantSchema), Type.Null()], {
    description: 'all that the caller was granted; null where nobody could be told',
  }),
  method: Type.String(),
  route: Type.String(),
  target: Type.String(),
  asked: Type.Union([Type.Record(Type.String(), Type.Unknown()), Type.Null()], {
    description: 'of a request that changes something: what its body names',
  }),
  status: Type.Integer({
    description: '100: it was begun; another event of the same requestID says what came of it',
  }),
  sourceIP: Type.String(),
  requestID: Type.String(),
});

/** Who looked: every request to this API. */
export function accessEventRoutes({ server, deps, auth }: Api): void {
  server.get(
    '/v1/access-events',
    {
      onRequest: auth.require('admin'),
      schema: {
        tags: ['access events'],
        summary: 'Who asked this API for what, newest first',
        querystring: Type.Object({
          caller: Type.Optional(Type.String()),
          route: Type.Optional(Type.String({ description: 'the pattern, such as /v1/changes/:id' })),
          sourceIP: Type.Optional(Type.String()),
          refused: Type.Optional(Type.Boolean({ description: 'only what was refused: 401 and 403' })),
          since: Type.Optional(Type.String()),
          until: Type.Optional(Type.String()),
          cursor: Type.Optional(Type.String({ pattern: '^[0-9]{1,18}$' })),
          limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
        }),
        response: { 200: pageSchema(AccessEventSchema) },
      },
    },
    async ({ query }) => {
      const limit = query.limit ?? 50;
      const since = readTime('since', query.since);
      const until = readTime('until', query.until);
      const filter = {
        ...(query.caller !== undefined && { caller: query.caller }),
        ...(query.route !== undefined && { route: query.route }),
        ...(query.sourceIP !== undefined && { sourceIP: query.sourceIP }),
        ...(query.refused !== undefined && { refused: query.refused }),
        ...(since !== undefined && { since }),
        ...(until !== undefined && { until }),
      };
      const rows = await findAccessEvents(deps.db, filter, query.cursor, limit + 1);
      return {
        items: rows.slice(0, limit).map((row) => ({ ...accessEventOf(row), seq: row.seq, at: row.at })),
        next: rows.length > limit ? rows[limit - 1]!.seq : null,
      };
    },
  );
}
