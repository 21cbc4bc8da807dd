import { Kysely, PostgresDialect, type RawBuilder, sql } from 'kysely';
import type { ClientBase } from 'pg';
import type { Matchable } from '../../core/alerts/matchable.js';
import { anyNeeded, EVERYTHING, type Needs } from '../../core/alerts/needs.js';
import type { AlertRule } from '../../core/alerts/rule.js';
import type { Json, JsonObject } from '../../core/audit-event.js';
import type { FieldChange } from '../../core/diff/diff.js';
import { formatMicros } from '../../core/timestamp.js';
import type { Certainty, ChangeClass, ChangeKind } from '../../core/vocabulary.js';
import type { BodyCache } from '../body-cache.js';
import { computedDiff } from '../queries/change-detail.js';
import { EVENT_JOINS, EVENT_SELECT, type EventRow, envelopeOf } from '../queries/events.js';
import type { Database } from '../schema.js';
import { type ColumnPlaces, needsCondition } from './needs-sql.js';

/** What rules on events, changes and verdicts look at, as a row. */
export interface SubjectRow extends EventRow {
  /** Its place in the order of commit: of the event, change or verdict. */
  number: string;
  change_id: string | null;
  change_class: ChangeClass | null;
  kind: ChangeKind | null;
  tool: string | null;
  summary: string | null;
  flags: string[] | null;
  diff: FieldChange[] | null;
  object_group: string | null;
  object_resource: string | null;
  object_namespace: string | null;
  object_name: string | null;
  deleted: boolean | null;
  before_digest: Buffer | null;
  before_certainty: Certainty | null;
  after_digest: Buffer | null;
  after_certainty: Certainty | null;
  verdict: string | null;
  verdict_reason: string | null;
  environment: string | null;
  final: boolean | null;
}

export type RowSubject = 'event' | 'change' | 'verdict';

/** Compiles statements; it is never asked to run one. */
const COMPILER = new Kysely<Database>({
  dialect: new PostgresDialect({ pool: () => Promise.reject(new Error('it only compiles')) }),
});

const EVENT_COLUMNS: ColumnPlaces = {
  verb: sql`e.verb`,
  class: sql`e.class`,
  username: sql`e.user_id`,
  subresource: sql`e.subresource`,
  apiGroup: sql`o.api_group`,
  resource: sql`o.resource`,
  namespace: sql`o.namespace`,
  name: sql`o.name`,
};
const CHANGE_COLUMNS: ColumnPlaces = {
  verb: sql`c.verb`,
  class: sql`c.class`,
  kind: sql`c.kind`,
  tool: sql`c.tool`,
  username: sql`c.user_id`,
  subresource: sql`c.subresource`,
  apiGroup: sql`c.api_group`,
  resource: sql`c.resource`,
  namespace: sql`c.namespace`,
  name: sql`c.name`,
};
const VERDICT_COLUMNS: ColumnPlaces = {
  ...CHANGE_COLUMNS,
  verdict: sql`w.verdict`,
  reason: sql`w.reason`,
  environment: sql`w.environment`,
};

/** Which rows: those after a place in the order of commit, or those of a time. Times are RFC 3339. */
export type Span = { after: string; until: string; notBefore: string } | { since: string; until: string };

/**
 * The rows of a cluster that some of these rules may match, in order of commit or of time. Rules on changes are shown what
 * people see by default, changes and access, and not what controllers did in consequence.
 */
export function subjectStatement(
  subject: RowSubject,
  clusterID: number,
  rules: readonly AlertRule[],
  span: Span,
): RawBuilder<SubjectRow> {
  const needs = anyNeeded(rules.map(({ matches }): Needs => matches.needs ?? EVERYTHING));
  const within = (
    seq: RawBuilder<unknown>,
    at: RawBuilder<unknown>,
    exempt: RawBuilder<unknown> = sql`false`,
  ) =>
    'after' in span
      ? sql`${seq} > ${span.after}::bigint and ${seq} <= ${span.until}::bigint and (${at} >= ${span.notBefore}::timestamptz or ${exempt})`
      : sql`${at} >= ${span.since}::timestamptz and ${at} < ${span.until}::timestamptz`;
  const order = (seq: RawBuilder<unknown>, at: RawBuilder<unknown>) => ('after' in span ? seq : at);
  // Of what is new, the place in the order of commit leaves least; written so, indexes over all of history are no choice.
  const terminal = 'after' in span ? sql`e.class is distinct from 'stage'` : sql`e.class <> 'stage'`;
  if (subject === 'event')
    return sql<SubjectRow>`
      ${EVENT_SELECT}, e.seq as number, null as change_id, null as change_class from events e ${EVENT_JOINS}
       where e.cluster_id = ${clusterID} and ${terminal} and ${within(sql`e.seq`, sql`e.at`)}
         and ${needsCondition(needs, clusterID, EVENT_COLUMNS)}
       order by ${order(sql`e.seq`, sql`e.at`)}`;
  const verdicts = subject === 'verdict';
  const columns = verdicts ? VERDICT_COLUMNS : CHANGE_COLUMNS;
  // An emergency becomes overdue long after it happened.
  const inSpan = verdicts
    ? within(sql`w.id`, sql`w.at`, sql`w.reason = 'overdue'`)
    : within(sql`c.seq`, sql`c.at`);
  return sql<SubjectRow>`
    ${EVENT_SELECT}, ${verdicts ? sql`w.id` : sql`c.seq`} as number, c.change_id, c.class as change_class, c.kind, c.tool, c.summary, c.flags, c.diff, c.deleted, c.before_digest,
           c.api_group as object_group, c.resource as object_resource, c.namespace as object_namespace, c.name as object_name,
           c.before_certainty, c.after_digest, c.after_certainty,
           ${verdicts ? sql`w.verdict, w.reason as verdict_reason, w.environment, w.final` : sql`null as verdict`}
      from ${verdicts ? sql`verdicts w join changes c on c.cluster_id = w.cluster_id and c.at = w.at and c.change_id = w.change_id` : sql`changes c`}
      join events e on e.cluster_id = c.cluster_id and e.at = c.at and e.digest = c.event_digest and e.source_id = c.source_id
      ${EVENT_JOINS}
     where ${verdicts ? sql`w.cluster_id = ${clusterID}` : sql`c.cluster_id = ${clusterID} and c.class in ('change', 'access')`}
       and ${inSpan} and ${needsCondition(needs, clusterID, columns)}
     order by ${verdicts ? order(sql`w.id`, sql`w.at`) : order(sql`c.seq`, sql`c.at`)}`;
}

/** A statement's text and values, for a client or a cursor. */
export function compiled(statement: RawBuilder<unknown>): { text: string; values: unknown[] } {
  const { sql: text, parameters } = statement.compile(COMPILER);
  return { text, values: [...parameters] };
}

/** Rows as rules look at them; bodies are loaded where a rule reads them. */
export async function readSubjects(
  client: ClientBase,
  clusterID: number,
  rows: readonly SubjectRow[],
  rules: readonly AlertRule[],
  bodyCache: BodyCache,
): Promise<Matchable[]> {
  const parts = new Set(rules.flatMap(({ matches }) => matches.parts ?? []));
  const wanted = new Set<string>();
  const want = (digest: Buffer | null) => digest && wanted.add(digest.toString('hex'));
  for (const row of rows) {
    if (parts.has('bodies')) for (const digest of [row.request_digest, row.response_digest]) want(digest);
    if (parts.has('diff') && row.change_id !== null && row.diff === null)
      for (const digest of [row.before_digest, row.after_digest]) want(digest);
  }
  const bodies =
    wanted.size > 0 ? await bodyCache.load(client, clusterID, [...wanted]) : new Map<string, Json>();
  return rows.map((row) => subjectOf(row, bodies));
}

function subjectOf(row: SubjectRow, bodies: ReadonlyMap<string, Json>): Matchable {
  const envelope = envelopeOf(row);
  const body = (digest: Buffer | null) => (digest ? bodies.get(digest.toString('hex')) : undefined);
  const request = body(row.request_digest);
  const response = body(row.response_digest);
  // A name that the apiserver made up, or an item of a collection, stands in the change only.
  const object = {
    ...(row.object_group && { apiGroup: row.object_group }),
    ...(row.object_resource && { resource: row.object_resource }),
    ...(row.object_namespace && { namespace: row.object_namespace }),
    ...(row.object_name && { name: row.object_name }),
  };
  const event = {
    kind: 'Event',
    ...envelope,
    ...((envelope.objectRef || row.change_id !== null) && {
      objectRef: { ...envelope.objectRef, ...object },
    }),
    requestReceivedTimestamp: formatMicros(envelope.requestReceivedTimestamp),
    stageTimestamp: formatMicros(envelope.stageTimestamp),
    ...(request !== undefined && { requestObject: request }),
    ...(response !== undefined && { responseObject: response }),
  } as unknown as JsonObject;
  const subject: Matchable = { event, cluster: row.cluster, class: row.change_class ?? row.class };
  if (row.change_id === null) return subject;
  subject.change = {
    kind: row.kind!,
    class: row.change_class!,
    tool: row.tool!,
    summary: row.summary!,
    flags: row.flags ?? [],
    diff: row.diff ?? computedDiff({ ...row, deleted: row.deleted === true }, bodies) ?? [],
  };
  if (row.verdict !== null)
    subject.verdict = {
      verdict: row.verdict,
      ...(row.verdict_reason !== null && { reason: row.verdict_reason }),
      environment: row.environment!,
      final: row.final === true,
    };
  return subject;
}
