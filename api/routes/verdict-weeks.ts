import { Type } from 'typebox';
import { VERDICTS } from '../../core/verdict/verdict.js';
import { countVerdictWeeks } from '../../store/queries/verdict-weeks.js';
import type { Api } from '../api.js';
import { words } from '../change-schema.js';
import { listOf, many } from '../list-query.js';
import { readWindow } from '../times.js';

/** What controllers and the like write is most of a cluster's changes, and nobody's to approve. */
const ASKED = VERDICTS.filter((verdict) => verdict !== 'excluded' && verdict !== 'system');

export function verdictWeekRoutes({ server, auth }: Api): void {
  server.get(
    '/v1/verdicts/weeks',
    {
      onRequest: auth.requireWithin('reader'),
      schema: {
        tags: ['verdicts'],
        summary: 'How many changes have which verdict, by week and environment',
        querystring: Type.Object({
          cluster: many(Type.String()),
          namespace: many(Type.String()),
          environment: many(Type.String()),
          verdict: Type.Optional(
            Type.Union([words(VERDICTS), Type.Array(words(VERDICTS))], {
              description: 'all but excluded and system, unless told',
            }),
          ),
          since: Type.Optional(Type.String({ description: 'of the changes; 12w unless told' })),
          until: Type.Optional(Type.String({ description: 'not included; now unless told' })),
        }),
        response: {
          200: Type.Object({
            since: Type.String(),
            until: Type.String(),
            items: Type.Array(
              Type.Object({
                week: Type.String({ description: 'the Monday on which it begins, UTC' }),
                environment: Type.String(),
                verdict: words(VERDICTS),
                count: Type.Integer(),
              }),
            ),
          }),
        },
      },
    },
    async (request) => {
      const { query } = request;
      const window = readWindow({
        since: query.since ?? '12w',
        ...(query.until !== undefined && { until: query.until }),
      });
      const rows = await countVerdictWeeks(auth.storeOf(request).db, {
        clusters: listOf(query.cluster),
        namespaces: listOf(query.namespace),
        environments: listOf(query.environment),
        verdicts: listOf(query.verdict) ?? ASKED,
        ...window,
      });
      return { ...window, items: rows.map((row) => ({ ...row, count: Number(row.count) })) };
    },
  );
}
