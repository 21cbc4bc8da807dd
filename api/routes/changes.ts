import { Readable } from 'node:stream';
import type { Pool } from 'pg';
import { type Static, Type } from 'typebox';
import { STAGES } from '../../core/audit-event.js';
import { COMPLETENESS_VERDICTS } from '../../core/completeness/counters.js';
import { formatFieldPath, parseFieldPath } from '../../core/diff/field-path.js';
import { WhochangedError } from '../../core/errors.js';
import { AGREEMENTS } from '../../core/provenance.js';
import { resourceOf } from '../../core/resource-names.js';
import { formatMicros } from '../../core/timestamp.js';
import { VERDICTS } from '../../core/verdict/verdict.js';
import { CHANGE_KINDS, EVENT_CLASSES } from '../../core/vocabulary.js';
import { findBody, findChangeDetail } from '../../store/queries/change-detail.js';
import type { ChangeFilter } from '../../store/queries/change-filter.js';
import { findClusters } from '../../store/queries/change-filter.js';
import {
  type ChangeQuestion,
  findChange,
  findChanges,
  findChangesAfter,
  findConsequences,
  findLastSeq,
  statementsOf,
} from '../../store/queries/changes.js';
import { findListCompleteness } from '../../store/queries/completeness.js';
import { decodeCursor } from '../../store/queries/cursor.js';
import { findDensity } from '../../store/queries/density.js';
import { findDeployedCommits } from '../../store/queries/deployed-commits.js';
import { findGateDecisionsOf } from '../../store/queries/gate-decisions.js';
import { streamRows } from '../../store/queries/stream.js';
import { findVerdictsOf } from '../../store/queries/verdicts.js';
import type { Api } from '../api.js';
import { changeItem } from '../change-item.js';
import { ArchivedFlag, ChangeSchema, pageSchema, words } from '../change-schema.js';
import { csvHeader, csvLine } from '../csv.js';
import { readTime, readWindow } from '../times.js';
import { LinkSchema, linkItem, VerdictSchema, verdictItem } from '../verdict-schema.js';
import { GateDecision, gateDecisionItem } from './gate.js';

/** A parameter that may stand several times. */
export function many<T extends ReturnType<typeof Type.String>>(item: T) {
  return Type.Optional(Type.Union([item, Type.Array(item, { maxItems: 50 })]));
}

const FilterQuery = {
  cluster: many(Type.String()),
  namespace: many(Type.String()),
  resource: many(
    Type.String({
      description: 'plural, kind or short name: deployments, Deployment, deploy, deployments.apps',
    }),
  ),
  name: many(Type.String({ description: 'exact, or a prefix and *' })),
  label: many(Type.String({ description: 'key=value' })),
  actor: many(Type.String({ description: 'user or impersonatedUser; * stands for anything' })),
  tool: many(Type.String()),
  verb: many(Type.String()),
  kind: Type.Optional(Type.Union([words(CHANGE_KINDS), Type.Array(words(CHANGE_KINDS))])),
  class: Type.Optional(Type.Union([words(EVENT_CLASSES), Type.Array(words(EVENT_CLASSES))])),
  verdict: Type.Optional(Type.Union([words(VERDICTS), Type.Array(words(VERDICTS))])),
  commit: many(
    Type.String({ description: 'changes that brought this commit: a SHA, or 7 digits and more of it' }),
  ),
  pr: many(Type.String({ description: 'changes that brought a pull request: 7, or repo#7' })),
  field: many(Type.String({ description: 'a field path; stands for all below it; [*] for any list item' })),
  since: Type.Optional(Type.String({ description: 'RFC 3339, or 30m, 2h, 7d ago' })),
  until: Type.Optional(Type.String({ description: 'not included' })),
  all: Type.Optional(Type.Boolean({ description: 'also what changed nothing or is bookkeeping' })),
};

export const PageQuery = {
  cursor: Type.Optional(Type.String()),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, default: 50 })),
};

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

type Filters = Static<ReturnType<typeof Type.Object<typeof FilterQuery>>>;

/** The question that a query string asks; the commits that it names are looked up by `readCommits`. */
export function readFilter(query: Omit<Filters, 'commit' | 'pr'>): ChangeFilter {
  const lists = {
    clusters: listOf(query.cluster),
    namespaces: listOf(query.namespace),
    resources: listOf(query.resource)?.map(resourceOf),
    names: listOf(query.name),
    labels: listOf(query.label)?.map(readLabel),
    actors: listOf(query.actor),
    tools: listOf(query.tool),
    verbs: listOf(query.verb),
    kinds: listOf(query.kind),
    classes: listOf(query.class),
    verdicts: listOf(query.verdict),
    fields: listOf(query.field)?.map((path) =>
      formatFieldPath(parseFieldPath(path)).replaceAll('[="*"]', '[*]'),
    ),
    since: readTime('since', query.since),
    until: readTime('until', query.until),
  };
  return Object.fromEntries(Object.entries(lists).filter(([, value]) => value !== undefined)) as ChangeFilter;
}

/** The commits that a query string names. All that comes of it is asked for within what the caller may see. */
async function readCommits(query: Filters, db: Pick<Pool, 'query'>): Promise<Pick<ChangeFilter, 'commits'>> {
  const commits = listOf(query.commit) ?? [];
  const pullRequests = listOf(query.pr) ?? [];
  if (commits.length + pullRequests.length === 0) return {};
  return { commits: await findDeployedCommits(db, commits, pullRequests) };
}

export function listOf<T>(value: T | T[] | undefined): T[] | undefined {
  return value === undefined ? undefined : Array.isArray(value) ? value : [value];
}

function readLabel(text: string): string {
  if (/^[^=]+=/.test(text)) return text;
  throw new WhochangedError('invalid_request', `label: "${text.slice(0, 60)}" is not key=value`, {
    hint: 'write label=app=web',
  });
}

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
      const page = await findChanges(db, {
        filter,
        all: query.all ?? false,
        ascending: query.order === 'asc',
        after: decodeCursor(query.cursor),
        limit,
      });
      // What is missing is a matter of whole clusters, which a tenant may not ask about.
      const completeness = request.tenant
        ? undefined
        : await findListCompleteness(
            db,
            (await findClusters(db, filter.clusters)).map(({ id }) => id),
            filter.since,
            filter.until ?? formatMicros(Date.now() * 1000),
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

  const Params = Type.Object({ id: Type.String({ format: 'uuid' }) });
  const Told = Type.Object({
    source: Type.String(),
    kind: Type.String({ description: 'how it tells: webhook, s3, ...' }),
    stages: Type.Array(
      Type.Object({
        stage: words(STAGES),
        seq: Type.String(),
        digest: Type.String({ description: 'SHA-256 of the canonical redacted event' }),
        object: Type.Optional(
          Type.Object(
            {
              bucket: Type.String(),
              key: Type.String(),
              etag: Type.String(),
              versionID: Type.Union([Type.String(), Type.Null()]),
            },
            { description: 'that held it; of an imported file, bucket is empty and key its name' },
          ),
        ),
      }),
    ),
    firstSeq: Type.String({ description: 'when it first told of it, in the cluster\u2019s order of commit' }),
    agreement: words(AGREEMENTS),
  });
  const Detail = Type.Object({
    ...ChangeSchema.properties,
    archived: ArchivedFlag,
    requested: Type.Optional(Type.Array(Type.String(), { description: 'the fields that the patch names' })),
    decision: Type.Optional(
      Type.Object({ decision: Type.Optional(Type.String()), reason: Type.Optional(Type.String()) }),
    ),
    annotations: Type.Optional(Type.Record(Type.String(), Type.String())),
    latencyMs: Type.Optional(Type.Number()),
    events: Type.Array(Type.Object({ eventID: Type.String(), stage: Type.String(), source: Type.String() })),
    sources: Type.Array(Told, { description: 'every source that told of this request, the first one first' }),
    consequences: Type.Array(ChangeSchema),
    gate: Type.Array(GateDecision, {
      description: 'what the gate said of the request before it was carried out',
    }),
    links: Type.Array(LinkSchema, { description: 'every way in which it may be tied to commits, in order' }),
    verdicts: Type.Array(VerdictSchema, {
      description: 'as they were given, the newest first: the one that holds',
    }),
  });

  server.get(
    '/v1/changes/:id',
    {
      onRequest,
      schema: {
        tags: TAGS,
        summary: 'One change, with its fields and what it set off',
        params: Params,
        response: { 200: Detail },
      },
    },
    async (request) => {
      const store = auth.storeOf(request);
      const { db } = store;
      const row = await findChange(db, request.params.id);
      if (!row) throw new WhochangedError('not_found', `no change has the id ${request.params.id}`);
      const detail = await findChangeDetail(db, row);
      const { links, verdicts } = await findVerdictsOf(store, row);
      const consequences = await findConsequences(db, row.cluster, row.change_id, 100);
      return {
        ...changeItem({ ...row, diff: detail.diff ?? null }),
        ...detail.extra,
        links: links.map(linkItem),
        verdicts: verdicts.map(verdictItem),
        consequences: consequences.map(changeItem),
        gate: (await findGateDecisionsOf(db, row.cluster, row.change_id)).map(gateDecisionItem),
      };
    },
  );

  for (const side of ['before', 'after'] as const) {
    server.get(
      `/v1/changes/:id/${side}`,
      { onRequest, schema: { tags: TAGS, summary: `The object ${side} a change`, params: Params } },
      async (request) => {
        const { db } = auth.storeOf(request);
        const found = await findBody(db, request.params.id, side);
        if (!found)
          throw new WhochangedError(
            'not_found',
            `no object is known ${side} the change ${request.params.id}`,
          );
        return found;
      },
    );
  }
}
