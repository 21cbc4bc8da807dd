import { Readable } from 'node:stream';
import { Type } from 'typebox';
import { COMPLETENESS_VERDICTS } from '../../core/completeness/counters.js';
import { WhochangedError } from '../../core/errors.js';
import { formatMicros } from '../../core/timestamp.js';
import { onlyAttempts } from '../../store/queries/attempts.js';
import { findClusters } from '../../store/queries/change-filter.js';
import {
  type ChangeQuestion,
  findChanges,
  findChangesAfter,
  findLastSeq,
  statementsOf,
} from '../../store/queries/changes.js';
import { findListCompleteness } from '../../store/queries/completeness.js';
import { decodeCursor } from '../../store/queries/cursor.js';
import { findDensity } from '../../store/queries/density.js';
import { streamRows } from '../../store/queries/stream.js';
import type { Api } from '../api.js';
import { changeItem } from '../change-item.js';
import { FilterQuery, readCommits, readFilter } from '../change-query.js';
import { ChangeSchema, pageSchema, words } from '../change-schema.js';
import { csvHeader, csvLine } from '../csv.js';
import { PageQuery } from '../list-query.js';
import { readWindow } from '../times.js';

const ListQuery = Type.Object({
  ...FilterQuery,
  ...PageQuery,
  order: Type.Optional(words(['desc', 'asc'])),
  after_seq: Type.Optional(
    Type.String({
      pattern: '^\\d{1,18}$',
      description: 'for tailing one cluster: what was committed after it, oldest first',
    }),
  ),
});

const Completeness = Type.Object(
  {
    verdict: words(COMPLETENESS_VERDICTS),
    gaps: Type.Integer({ description: 'open gaps that overlap the time asked for: GET /v1/gaps' }),
    completeUntil: Type.Optional(
      Type.String({ description: 'proven complete from the beginning up to then' }),
    ),
  },
  { description: 'whether everything of the time asked for is here, of all sources of the clusters' },
);

const TAGS = ['changes'];

export function changeRoutes({ server, deps, auth }: Api): void {
  const onRequest = auth.requireWithin('reader');

  server.get(
    '/v1/changes',
    {
      onRequest,
      schema: {
        tags: TAGS,
        summary: 'What changed, newest first',
        querystring: ListQuery,
        response: {
          200: Type.Object({
            ...pageSchema(ChangeSchema).properties,
            completeness: Type.Optional(Completeness),
          }),
        },
      },
    },
    async (request) => {
      const { db } = auth.storeOf(request);
      const { query } = request;
      const filter = { ...readFilter(query), ...(await readCommits(query, deps.pool)) };
      const limit = query.limit ?? 50;
      if (query.after_seq !== undefined) {
        if (onlyAttempts(filter))
          throw new WhochangedError(
            'invalid_request',
            `after_seq: requests of class ${filter.classes!.join(', ')} change nothing, and have no place in the order of changes`,
            { hint: 'ask for them by time, with since' },
          );
        const [cluster, ...others] = await findClusters(db, filter.clusters);
        if (!cluster || others.length > 0)
          throw new WhochangedError('invalid_request', 'after_seq: takes exactly one cluster', {
            hint: 'add cluster=NAME',
          });
        const rows = await findChangesAfter(
          db,
          cluster.id,
          query.after_seq,
          filter,
          query.all ?? false,
          limit,
        );
        return { items: rows.map(changeItem), next: rows.at(-1)?.seq ?? query.after_seq };
      }
      const clusters = await findClusters(db, filter.clusters);
      // What is missing is a matter of whole clusters, which a tenant may not ask about. Asked before the list: what came
      // in between can only make the list more complete than is said.
      const completeness = request.tenant
        ? undefined
        : await findListCompleteness(
            db,
            clusters.map(({ id }) => id),
            filter.since,
            filter.until ?? formatMicros(Date.now() * 1000),
          );
      const page = await findChanges(
        db,
        {
          filter,
          all: query.all ?? false,
          ascending: query.order === 'asc',
          after: decodeCursor(query.cursor),
          limit,
        },
        clusters,
      );
      return {
        items: page.items.map(changeItem),
        next: page.next,
        ...(completeness && { completeness }),
      };
    },
  );

  server.get(
    '/v1/changes/last-seq',
    {
      onRequest,
      schema: {
        tags: TAGS,
        summary: 'Where each cluster\u2019s changes end now',
        response: { 200: Type.Record(Type.String(), Type.String()) },
      },
    },
    async (request) => {
      const { db } = auth.storeOf(request);
      const ends: Record<string, string> = {};
      for (const { id, name } of await findClusters(db, undefined)) ends[name] = await findLastSeq(db, id);
      return ends;
    },
  );

  const Density = Type.Object({
    since: Type.String(),
    until: Type.String(),
    bucketSeconds: Type.Integer({ description: 'how much time each bucket holds' }),
    items: Type.Array(
      Type.Object({ at: Type.String({ description: 'where it begins' }), count: Type.Integer() }),
      { description: 'buckets that hold anything, oldest first' },
    ),
  });
  server.get(
    '/v1/changes/density',
    {
      onRequest,
      schema: {
        tags: TAGS,
        summary: 'How many changes match, over time',
        querystring: Type.Object({
          ...FilterQuery,
          since: Type.String({ description: 'RFC 3339, or 30m, 2h, 7d ago' }),
          buckets: Type.Optional(
            Type.Integer({ minimum: 10, maximum: 500, default: 120, description: 'at most' }),
          ),
        }),
        response: { 200: Density },
      },
    },
    async (request) => {
      const { db } = auth.storeOf(request);
      const { query } = request;
      const { since, until } = readWindow(query);
      const { seconds, items } = await findDensity(db, {
        filter: { ...readFilter(query), ...(await readCommits(query, deps.pool)), since, until },
        all: query.all ?? false,
        buckets: query.buckets ?? 120,
        wholeClusters: !request.tenant,
      });
      return { since, until, bucketSeconds: seconds, items };
    },
  );

  for (const format of ['ndjson', 'csv'] as const) {
    const type = format === 'csv' ? 'text/csv; charset=utf-8' : 'application/x-ndjson';
    server.get(
      `/v1/changes.${format}`,
      {
        onRequest,
        schema: {
          tags: TAGS,
          summary: `All that match, streamed as ${format.toUpperCase()}`,
          querystring: Type.Object({ ...FilterQuery, order: Type.Optional(words(['desc', 'asc'])) }),
        },
      },
      async (request, reply) => {
        const { db, pool } = auth.storeOf(request);
        const { query } = request;
        const question: ChangeQuestion = {
          filter: { ...readFilter(query), ...(await readCommits(query, deps.pool)) },
          all: query.all ?? false,
          ascending: query.order === 'asc',
          after: undefined,
          limit: 0,
        };
        const statements = await statementsOf(db, question);
        const rows = streamRows(pool, db, statements);
        const lines = async function* () {
          if (format === 'csv') yield csvHeader();
          for await (const row of rows)
            yield format === 'csv' ? csvLine(changeItem(row)) : `${JSON.stringify(changeItem(row))}\n`;
        };
        return reply.type(type).send(Readable.from(lines()));
      },
    );
  }
}
