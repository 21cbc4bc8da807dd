import { type Static, Type } from 'typebox';
import { COMPLETENESS_VERDICTS } from '../../core/completeness/counters.js';
import { findDowntimes, type Span } from '../../core/completeness/downtime.js';
import { GAP_CAUSES, GAP_STATES } from '../../core/completeness/gap.js';
import { overallVerdict, verdictOf } from '../../core/completeness/verdict.js';
import { WhochangedError } from '../../core/errors.js';
import { formatMicros, parseMicros } from '../../core/timestamp.js';
import { findUptimes } from '../../store/completeness/uptimes.js';
import { findClusters } from '../../store/queries/change-filter.js';
import { type CompletenessStep, findCompleteness } from '../../store/queries/completeness.js';
import { decodeCursor } from '../../store/queries/cursor.js';
import { findGaps, type GapItem } from '../../store/queries/gaps.js';
import type { Api } from '../api.js';
import { objectItem } from '../change-item.js';
import { ObjectSchema, pageSchema, words } from '../change-schema.js';
import { many, PageQuery } from '../list-query.js';
import { readDuration, readTime } from '../times.js';

const TAGS = ['completeness'];
const DEFAULT_SINCE = '24h';
const DEFAULT_STEPS = 24;
const MAX_ITEMS = 5000;

const Count = (description: string) => Type.Union([Type.Integer(), Type.Null()], { description });
const Evidence = Type.Union([
  Type.Object({ kind: Type.Literal('counters'), samples: Type.Integer() }),
  Type.Object({
    kind: Type.Literal('canaries'),
    sent: Type.Integer(),
    seen: Type.Integer(),
    missing: Type.Integer(),
    latencySeconds: Type.Union([Type.Number(), Type.Null()], { description: 'the longest' }),
  }),
  Type.Object({
    kind: Type.Literal('receiver'),
    downSeconds: Type.Number({ description: 'no receiver was known to be up' }),
  }),
]);
const Step = Type.Object({
  cluster: Type.String(),
  source: Type.String(),
  kind: Type.String(),
  since: Type.String(),
  until: Type.String(),
  verdict: words(COMPLETENESS_VERDICTS),
  reasons: Type.Array(Type.String(), { description: 'why it is not complete' }),
  expected: Count('events that the apiserver counted; null where it can\u2019t be known'),
  received: Count('of them, those that are here'),
  missing: Count('at least so many are not'),
  missingAtMost: Count('and at most so many'),
  gaps: Type.Integer({ description: 'open ones that overlap this step' }),
  evidence: Type.Array(Evidence),
});
const Gap = Type.Object({
  id: Type.String(),
  cluster: Type.String(),
  source: Type.String(),
  cause: words(GAP_CAUSES),
  since: Type.String(),
  until: Type.String(),
  expected: Type.Optional(Type.Integer()),
  received: Type.Optional(Type.Integer()),
  missing: Type.Optional(Type.Integer({ description: 'at least so many; absent where nobody can tell' })),
  object: Type.Optional(ObjectSchema),
  change: Type.Optional(Type.String({ description: 'the change before which something is missing' })),
  evidence: Type.Record(Type.String(), Type.Unknown()),
  state: words(GAP_STATES),
  openedAt: Type.String(),
  evaluatedAt: Type.String(),
  closedAt: Type.Optional(Type.String()),
  closedReason: Type.Optional(Type.String()),
});

function countOf(text: string | null): number | null {
  return text === null ? null : Number(text);
}

function stepItem(row: CompletenessStep, downSeconds: number | undefined): Static<typeof Step> {
  const verdict = verdictOf({ openGaps: row.gaps, incomplete: row.incomplete, covered: row.covered });
  const reasons = [
    ...(row.gaps > 0 ? ['gaps'] : []),
    ...(row.samples === 0 ? ['no_counters'] : row.covered ? [] : [...row.reasons.sort()]),
  ];
  if (verdict === 'unknown' && reasons.length === 0) reasons.push('not_covered');
  return {
    cluster: row.cluster,
    source: row.source,
    kind: row.kind,
    since: row.since,
    until: row.until,
    verdict,
    reasons: verdict === 'complete' ? [] : reasons,
    expected: countOf(row.expected),
    received: countOf(row.received),
    missing: countOf(row.missing_least),
    missingAtMost: countOf(row.missing_most),
    gaps: row.gaps,
    evidence: [
      ...(row.samples > 0 ? [{ kind: 'counters' as const, samples: row.samples }] : []),
      ...(row.canaries > 0
        ? [
            {
              kind: 'canaries' as const,
              sent: row.canaries,
              seen: row.canaries_seen,
              missing: row.canaries_missing,
              latencySeconds: row.canary_latency,
            },
          ]
        : []),
      ...(downSeconds === undefined ? [] : [{ kind: 'receiver' as const, downSeconds }]),
    ],
  };
}

function gapItem(row: GapItem): Static<typeof Gap> {
  const count = (name: 'expected' | 'received' | 'missing') =>
    row[name] === null ? {} : { [name]: Number(row[name]) };
  return {
    id: row.id,
    cluster: row.cluster,
    source: row.source,
    cause: row.cause,
    since: row.since,
    until: row.until,
    ...count('expected'),
    ...count('received'),
    ...count('missing'),
    ...(row.resource !== null && {
      object: objectItem({
        api_group: row.api_group ?? '',
        resource: row.resource,
        namespace: row.namespace ?? '',
        name: row.name ?? '',
      }),
    }),
    ...(row.change_id !== null && { change: row.change_id }),
    evidence: row.evidence,
    state: row.state,
    openedAt: row.opened_at,
    evaluatedAt: row.evaluated_at,
    ...(row.closed_at !== null && { closedAt: row.closed_at }),
    ...(row.closed_reason !== null && { closedReason: row.closed_reason }),
  };
}

export function completenessRoutes({ server, deps, auth }: Api): void {
  const onRequest = auth.require('reader');

  const Query = Type.Object({
    cluster: many(Type.String()),
    source: Type.Optional(Type.String()),
    since: Type.Optional(
      Type.String({ description: `RFC 3339, or 30m, 2h, 7d ago (default ${DEFAULT_SINCE})` }),
    ),
    until: Type.Optional(Type.String({ description: 'not included (default now)' })),
    step: Type.Optional(Type.String({ description: 'such as 5m, 1h, 1d (default a 24th of the time)' })),
  });
  server.get(
    '/v1/completeness',
    {
      onRequest,
      schema: {
        tags: TAGS,
        summary: 'Whether everything that was told is here, by source and step of time',
        querystring: Query,
        response: {
          200: Type.Object({ verdict: words(COMPLETENESS_VERDICTS), items: Type.Array(Step) }),
        },
      },
    },
    async ({ query }) => {
      const since = readTime('since', query.since ?? DEFAULT_SINCE)!;
      const until = readTime('until', query.until) ?? formatMicros(Date.now() * 1000);
      const seconds = (parseMicros(until)! - parseMicros(since)!) / 1e6;
      if (seconds <= 0)
        throw new WhochangedError('invalid_request', `until: ${until} is not after since (${since})`);
      const stepSeconds =
        readDuration('step', query.step) ?? Math.max(60, Math.ceil(seconds / DEFAULT_STEPS));
      const clusters = await findClusters(
        deps.db,
        query.cluster === undefined ? undefined : [query.cluster].flat(),
      );
      if (seconds / stepSeconds > MAX_ITEMS / Math.max(1, clusters.length))
        throw new WhochangedError('invalid_request', `step: that makes more than ${MAX_ITEMS} steps`, {
          hint: 'choose a longer step or a shorter time',
        });
      const rows = await findCompleteness(deps.db, {
        clusterIDs: clusters.map(({ id }) => id),
        ...(query.source !== undefined && { source: query.source }),
        since,
        until,
        stepSeconds,
      });
      const uptimes = await findUptimes(deps.pool, new Date(since));
      const items = rows.map((row) =>
        stepItem(row, row.kind === 'webhook' ? downSeconds(row, uptimes) : undefined),
      );
      return { verdict: overallVerdict(items.map(({ verdict }) => verdict)), items };
    },
  );

  const GapQuery = Type.Object({
    ...PageQuery,
    cluster: many(Type.String()),
    source: Type.Optional(Type.String()),
    cause: Type.Optional(Type.Union([words(GAP_CAUSES), Type.Array(words(GAP_CAUSES))])),
    state: Type.Optional(words(GAP_STATES)),
    since: Type.Optional(Type.String({ description: 'gaps that end after it' })),
    until: Type.Optional(Type.String({ description: 'gaps that begin before it' })),
  });
  server.get(
    '/v1/gaps',
    {
      onRequest,
      schema: {
        tags: TAGS,
        summary: 'What is known, or must be feared, to be missing',
        querystring: GapQuery,
        response: { 200: pageSchema(Gap) },
      },
    },
    async ({ query }) => {
      const clusters = await findClusters(
        deps.db,
        query.cluster === undefined ? undefined : [query.cluster].flat(),
      );
      const since = readTime('since', query.since);
      const until = readTime('until', query.until);
      const page = await findGaps(
        deps.db,
        {
          clusterIDs: clusters.map(({ id }) => id),
          ...(query.source !== undefined && { source: query.source }),
          ...(query.cause !== undefined && { causes: [query.cause].flat() }),
          ...(query.state !== undefined && { state: query.state }),
          ...(since !== undefined && { since }),
          ...(until !== undefined && { until }),
        },
        decodeCursor(query.cursor),
        query.limit ?? 50,
      );
      return { items: page.items.map(gapItem), next: page.next };
    },
  );
}

/** Seconds of a step in which no receiver was up; undefined where none had told of itself yet. */
function downSeconds(step: { since: string; until: string }, uptimes: readonly Span[]): number | undefined {
  const since = parseMicros(step.since)!;
  const until = parseMicros(step.until)!;
  if (!uptimes.some((span) => span.since < until)) return undefined;
  const down = findDowntimes(uptimes).reduce(
    (sum, span) => sum + Math.max(0, Math.min(span.until, until) - Math.max(span.since, since)),
    0,
  );
  return Math.round(down / 1e6);
}
