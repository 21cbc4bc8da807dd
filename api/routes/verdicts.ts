import { Readable } from 'node:stream';
import { type Static, Type } from 'typebox';
import { csvCells } from '../../core/csv.js';
import { APPLICATION_ACTIONS } from '../../core/links/application-actions.js';
import { VERDICTS } from '../../core/verdict/verdict.js';
import { findApplicationActions } from '../../store/queries/application-actions.js';
import { decodeCursor } from '../../store/queries/cursor.js';
import { streamRows } from '../../store/queries/stream.js';
import {
  findVerdicts,
  type ListedVerdictRow,
  type VerdictFilter,
  verdictStatements,
} from '../../store/queries/verdicts.js';
import type { Api } from '../api.js';
import { objectItem } from '../change-item.js';
import { ObjectSchema, pageSchema, SourceSchema, words } from '../change-schema.js';
import { listOf, many, PageQuery } from '../list-query.js';
import { readTime } from '../times.js';
import { VerdictSchema, verdictItem } from '../verdict-schema.js';

const FilterQuery = {
  cluster: many(Type.String()),
  namespace: many(Type.String()),
  environment: many(Type.String({ description: 'as the policy names it' })),
  verdict: Type.Optional(Type.Union([words(VERDICTS), Type.Array(words(VERDICTS))])),
  reason: many(Type.String()),
  since: Type.Optional(Type.String({ description: 'of the change: RFC 3339, or 30m, 2h, 7d ago' })),
  until: Type.Optional(Type.String({ description: 'not included' })),
};
type Filters = Static<ReturnType<typeof Type.Object<typeof FilterQuery>>>;

const ItemSchema = Type.Object({
  change: Type.Object({
    id: Type.String(),
    at: Type.String(),
    cluster: Type.String(),
    object: ObjectSchema,
    actor: Type.String(),
    impersonatedUser: Type.Optional(Type.String()),
    summary: Type.String(),
  }),
  sources: Type.Array(SourceSchema, { description: 'of the link that counts' }),
  ...VerdictSchema.properties,
});
type Item = Static<typeof ItemSchema>;

function readFilter(query: Filters): VerdictFilter {
  const since = readTime('since', query.since);
  const until = readTime('until', query.until);
  return {
    clusters: listOf(query.cluster),
    namespaces: listOf(query.namespace),
    environments: listOf(query.environment),
    verdicts: listOf(query.verdict),
    reasons: listOf(query.reason),
    ...(since !== undefined && { since }),
    ...(until !== undefined && { until }),
  };
}

function listedItem(row: ListedVerdictRow): Item {
  return {
    change: {
      id: row.change_id,
      at: row.at,
      cluster: row.cluster,
      object: objectItem(row),
      actor: row.username,
      ...(row.impersonated_username !== null && { impersonatedUser: row.impersonated_username }),
      summary: row.summary,
    },
    sources: row.sources ?? [],
    ...verdictItem(row),
  };
}

const COLUMNS: ReadonlyArray<readonly [name: string, value: (item: Item) => string | undefined]> = [
  ['at', ({ change }) => change.at],
  ['cluster', ({ change }) => change.cluster],
  ['environment', (item) => item.environment],
  ['namespace', ({ change }) => change.object.namespace],
  ['object', ({ change }) => change.object.text],
  ['actor', ({ change }) => change.actor],
  ['impersonated_user', ({ change }) => change.impersonatedUser],
  ['summary', ({ change }) => change.summary],
  ['verdict', (item) => item.verdict],
  ['reason', (item) => item.reason],
  ['detail', (item) => item.detail],
  ['root_verdict', (item) => item.root?.verdict],
  ['commits', (item) => item.commits.map(({ sha }) => sha).join(' ')],
  ['approvers', (item) => [...new Set(item.commits.flatMap(({ approvers }) => approvers))].join(' ')],
  ['initiator', (item) => item.initiator?.username],
  ['final', (item) => String(item.final)],
  ['evaluated_at', (item) => item.evaluatedAt],
  ['policy', (item) => item.policyVersion],
  ['change_id', ({ change }) => change.id],
  ['digest', (item) => item.digest],
];

const ActionSchema = Type.Object({
  changeID: Type.String(),
  at: Type.String(),
  cluster: Type.String(),
  action: words(APPLICATION_ACTIONS),
  application: Type.Object({ kind: Type.String(), namespace: Type.String(), name: Type.String() }),
  actor: Type.String({
    description: 'the user of the cluster who wrote the Application; often argocd-server',
  }),
  initiator: Type.Optional(Type.String({ description: 'the user of Argo CD, where something tells' })),
  initiatorEvidence: Type.Optional(Type.String({ description: 'what tells the initiator' })),
  revision: Type.Optional(Type.String()),
  detail: Type.Optional(Type.String()),
});

export function verdictRoutes({ server, auth }: Api): void {
  const onRequest = auth.requireWithin('reader');

  server.get(
    '/v1/verdicts',
    {
      onRequest,
      schema: {
        tags: ['verdicts'],
        summary: 'What is said of changes, newest change first',
        querystring: Type.Object({ ...FilterQuery, ...PageQuery }),
        response: { 200: pageSchema(ItemSchema) },
      },
    },
    async (request) => {
      const { query } = request;
      const { db } = auth.storeOf(request);
      const page = await findVerdicts(db, readFilter(query), decodeCursor(query.cursor), query.limit ?? 50);
      return { items: page.items.map(listedItem), next: page.next };
    },
  );

  for (const format of ['ndjson', 'csv'] as const)
    server.get(
      `/v1/verdicts.${format}`,
      {
        onRequest,
        schema: {
          tags: ['verdicts'],
          summary: `All that match, streamed as ${format.toUpperCase()}, cluster by cluster`,
          querystring: Type.Object(FilterQuery),
        },
      },
      async (request, reply) => {
        const { db, pool } = auth.storeOf(request);
        const statements = await verdictStatements(db, readFilter(request.query), undefined, undefined);
        const rows = streamRows(pool, db, statements);
        const lines = async function* () {
          if (format === 'csv') yield csvCells(COLUMNS.map(([name]) => name));
          for await (const row of rows) {
            const item = listedItem(row);
            yield format === 'csv'
              ? csvCells(COLUMNS.map(([, value]) => value(item)))
              : `${JSON.stringify(item)}\n`;
          }
        };
        const type = format === 'csv' ? 'text/csv; charset=utf-8' : 'application/x-ndjson';
        return reply.type(type).send(Readable.from(lines()));
      },
    );

  server.get(
    '/v1/application-actions',
    {
      onRequest,
      schema: {
        tags: ['verdicts'],
        summary:
          'What people asked Argo CD and Flux for: syncs, rollbacks, auto-sync off, overrides; newest first',
        querystring: Type.Object({
          cluster: many(Type.String()),
          namespace: many(Type.String({ description: 'of the Application' })),
          name: many(Type.String({ description: 'of the Application' })),
          action: Type.Optional(
            Type.Union([words(APPLICATION_ACTIONS), Type.Array(words(APPLICATION_ACTIONS))]),
          ),
          actor: many(Type.String({ description: 'the user of Argo CD or of the cluster, exact' })),
          since: Type.Optional(Type.String()),
          until: Type.Optional(Type.String()),
          ...PageQuery,
        }),
        response: { 200: pageSchema(ActionSchema) },
      },
    },
    async (request) => {
      const { query } = request;
      const since = readTime('since', query.since);
      const until = readTime('until', query.until);
      const filter = {
        clusters: listOf(query.cluster),
        namespaces: listOf(query.namespace),
        names: listOf(query.name),
        actions: listOf(query.action),
        actors: listOf(query.actor),
        ...(since !== undefined && { since }),
        ...(until !== undefined && { until }),
      };
      const { db } = auth.storeOf(request);
      const page = await findApplicationActions(db, filter, decodeCursor(query.cursor), query.limit ?? 50);
      return {
        items: page.items.map((row) => ({
          changeID: row.change_id,
          at: row.at,
          cluster: row.cluster,
          action: row.action,
          application: {
            kind: row.detail.kind ?? 'Application',
            namespace: row.namespace,
            name: row.name,
          },
          actor: row.username,
          ...(row.initiator !== null && { initiator: row.initiator }),
          ...(row.initiator_evidence !== null && { initiatorEvidence: row.initiator_evidence }),
          ...(row.detail.revision !== undefined && { revision: row.detail.revision }),
          ...(row.detail.detail !== undefined && { detail: row.detail.detail }),
        })),
        next: page.next,
      };
    },
  );
}
