import { Type } from 'typebox';
import { WhochangedError } from '../../core/errors.js';
import { findActorSummary } from '../../store/queries/actors.js';
import { findChanges } from '../../store/queries/changes.js';
import { decodeCursor } from '../../store/queries/cursor.js';
import type { Api } from '../api.js';
import { changeItem } from '../change-item.js';
import { ChangeSchema } from '../change-schema.js';
import { PageQuery } from '../list-query.js';
import { readTime } from '../times.js';

const Counts = Type.Record(Type.String(), Type.Integer());

export function actorRoutes({ server, auth }: Api): void {
  server.get(
    '/v1/actors/:username/activity',
    {
      onRequest: auth.requireWithin('reader'),
      schema: {
        tags: ['actors'],
        summary: 'What somebody did',
        params: Type.Object({ username: Type.String() }),
        querystring: Type.Object({
          ...PageQuery,
          since: Type.Optional(Type.String()),
          until: Type.Optional(Type.String()),
        }),
        response: {
          200: Type.Object({
            username: Type.String(),
            firstAt: Type.Union([Type.String(), Type.Null()]),
            lastAt: Type.Union([Type.String(), Type.Null()]),
            kinds: Counts,
            namespaces: Counts,
            tools: Counts,
            items: Type.Array(ChangeSchema),
            next: Type.Union([Type.String(), Type.Null()]),
          }),
        },
      },
    },
    async (request) => {
      const { db } = auth.storeOf(request);
      const { params, query } = request;
      const since = readTime('since', query.since);
      const until = readTime('until', query.until);
      const window = { ...(since !== undefined && { since }), ...(until !== undefined && { until }) };
      const summary = await findActorSummary(db, params.username, window);
      // That somebody exists is itself the other tenants' business.
      if (!summary || (request.tenant && summary.first_at === null))
        throw new WhochangedError('not_found', `nobody called "${params.username}" was ever seen`, {
          hint: 'usernames are as the apiserver knows them, such as system:serviceaccount:ci:deployer',
        });
      const page = await findChanges(db, {
        filter: { ...window, actors: [params.username] },
        all: false,
        ascending: false,
        after: decodeCursor(query.cursor),
        limit: query.limit ?? 50,
      });
      return {
        username: params.username,
        firstAt: summary.first_at,
        lastAt: summary.last_at,
        kinds: summary.kinds,
        namespaces: summary.namespaces,
        tools: summary.tools,
        items: page.items.map(changeItem),
        next: page.next,
      };
    },
  );
}
