import { type Kysely, type RawBuilder, sql } from 'kysely';
import { millisOfID } from '../../core/identity.js';
import type { VerdictName } from '../../core/verdict/verdict.js';
import { prepared } from '../prepared.js';
import type { Database } from '../schema.js';
import { attemptConditions, attemptsOf, canBeAttempt, isLastStage, onlyAttempts } from './attempts.js';
import {
  type ChangeFilter,
  type Cluster,
  changeConditions,
  findClusters,
  type ResolvedFilter,
  resolveFilter,
  timeConditions,
} from './change-filter.js';
import {
  type ChangeRow,
  findAttemptRows,
  findChangeRows,
  newestFirst,
  tellAttempts,
  tellChanges,
} from './change-rows.js';
import { type Keyset, type Page, pageOf } from './cursor.js';
import { findInSteps, MONTH_DAYS, type Span, timeSteps } from './time-steps.js';

export interface ChangeQuestion {
  filter: ChangeFilter;
  /** Every class, not only those a person cares for. */
  all: boolean;
  ascending: boolean;
  after: Keyset | undefined;
  limit: number;
}

/** One page of changes, newest first unless `ascending`. `clusters`: those of the filter, where they were looked up. */
export async function findChanges(
  db: Kysely<Database>,
  question: ChangeQuestion,
  clusters?: readonly Cluster[],
): Promise<Page<ChangeRow>> {
  const { filter, after, ascending, limit } = question;
  const resolved = await resolveFilters(db, filter, clusters ?? (await findClusters(db, filter.clusters)));
  const spans = timeSteps(filter, after, ascending, Date.now(), firstDays(filter));
  const rows = await findInSteps(spans, limit + 1, async (span, most) => {
    const found: ChangeRow[] = [];
    for (const one of resolved)
      for (const selection of selectionsOf(inSpan(one, span), question, most))
        found.push(...(await findRows(db, selection)));
    return found.sort(ascending ? (a, b) => newestFirst(b, a) : newestFirst);
  });
  return pageOf(rows, limit, (row) => ({ at: row.at, id: row.change_id }));
}

/**
 * An index of fields or labels knows no order: all of a span that have them are read, and sorted for the newest. A day may fill
 * the page; a month of a whole cluster is thousands of rows.
 */
function firstDays({ fields, labels, namespaces, names }: ChangeFilter): number[] {
  const unordered = (fields?.length || labels?.length) && !namespaces?.length && !names?.length;
  return unordered ? [1, MONTH_DAYS] : [MONTH_DAYS];
}

/** The filter with its names looked up in each cluster in which anything can match. */
async function resolveFilters(
  db: Kysely<Database>,
  filter: ChangeFilter,
  clusters: readonly Cluster[],
): Promise<ResolvedFilter[]> {
  const resolved: ResolvedFilter[] = [];
  for (const { id } of clusters) {
    const one = await resolveFilter(db, id, filter);
    if (one) resolved.push(one);
  }
  return resolved;
}

function inSpan(resolved: ResolvedFilter, { since, until }: Span): ResolvedFilter {
  const { since: _since, until: _until, ...filter } = resolved.filter;
  return {
    ...resolved,
    filter: { ...filter, ...(since !== undefined && { since }), ...(until !== undefined && { until }) },
  };
}

/** The statements that together tell all that a question asks for, each in the question's order: for streams. */
export async function statementsOf(
  db: Kysely<Database>,
  question: ChangeQuestion,
): Promise<RawBuilder<ChangeRow>[]> {
  const direction = question.ascending ? sql`asc` : sql`desc`;
  const { filter } = question;
  const resolved = await resolveFilters(db, filter, await findClusters(db, filter.clusters));
  return resolved
    .flatMap((one) => selectionsOf(one, question, undefined))
    .map(({ told, rows }) =>
      told === 'changes'
        ? sql<ChangeRow>`${tellChanges(rows)} order by c.at ${direction}, c.change_id ${direction}`
        : sql<ChangeRow>`${tellAttempts(rows)} order by c.at ${direction}, c.request_id ${direction}`,
    );
}

/** Which rows of `changes`, or of `events`, a question asks for in one cluster. */
interface Selection {
  told: 'changes' | 'attempts';
  rows: RawBuilder<unknown>;
  /** Looked up by key: one plan is good for all values. */
  keyed: boolean;
}

function selectionsOf(
  resolved: ResolvedFilter,
  { all, ascending, after }: ChangeQuestion,
  limit: number | undefined,
): Selection[] {
  const { clusterID, filter } = resolved;
  const attempts = attemptsOf(filter, all);
  const direction = ascending ? sql`asc` : sql`desc`;
  const beyond = ascending ? sql`>` : sql`<`;
  const limited = limit === undefined ? sql`` : sql`limit ${limit}`;
  const selections: Selection[] = [];
  const behind = (id: string) =>
    after ? [sql`(c.at, ${sql.ref(id)}) ${beyond} (${after.at}::timestamptz, ${after.id}::uuid)`] : [];
  if (!onlyAttempts(filter)) {
    const objectIDs = resolved.objects && 'ids' in resolved.objects ? resolved.objects.ids : undefined;
    const verdicts = objectIDs ? undefined : drivingVerdicts(resolved);
    const conditions = changeConditions(
      {
        ...resolved,
        objects: objectIDs ? undefined : resolved.objects,
        filter: verdicts ? { ...filter, verdicts: [] } : filter,
      },
      all,
    );
    const order = sql`order by c.at ${direction}, c.change_id ${direction} ${limited}`;
    const where = sql.join([...conditions, ...behind('c.change_id')], sql` and `);
    const rows = objectIDs
      ? // Each object's newest by its index: told all at once, Postgres reads all of their changes and sorts them.
        sql`select c.* from unnest(${objectIDs}::uuid[]) q (id) cross join lateral (
              select c.* from changes c where ${where} and c.object_id = q.id ${order}) c ${order}`
      : verdicts
        ? // Each verdict's newest by its index, and the changes of those alone: few of all may have it.
          sql`select c.* from unnest(${verdicts}::verdict_name[]) w (verdict) cross join lateral (
              select c.* from current_verdicts q cross join lateral (
                select c.* from changes c where ${where} and c.at = q.at and c.change_id = q.change_id limit 1) c
               where q.cluster_id = ${clusterID} and q.verdict = w.verdict
                 and ${sql.join(verdictConditions(filter, after, beyond), sql` and `)}
               order by q.at ${direction}, q.change_id ${direction} ${limited}) c ${order}`
        : sql`select c.* from changes c where ${where} ${order}`;
    selections.push({ told: 'changes', rows, keyed: objectIDs !== undefined });
  }
  if (attempts.length > 0 && canBeAttempt(resolved)) {
    const conditions = [...attemptConditions(resolved, attempts), ...behind('c.request_id')];
    const rows = sql`select c.* from events c
                       left join objects o on o.cluster_id = c.cluster_id and o.id = c.object_id
                      where ${sql.join(conditions, sql` and `)} and ${isLastStage(filter)}
                      order by c.at ${direction}, c.request_id ${direction} ${limited}`;
    selections.push({ told: 'attempts', rows, keyed: false });
  }
  return selections;
}

/** The verdicts asked for, where nothing else that is asked for is likely to leave fewer changes than they do. */
function drivingVerdicts({ filter, objects, users }: ResolvedFilter): VerdictName[] | undefined {
  if (!filter.verdicts?.length || objects || users || filter.commits) return undefined;
  return filter.fields?.length || filter.labels?.length ? undefined : [...new Set(filter.verdicts)];
}

/** What is asked of changes and known of verdicts `q` too, so that their index leaves out the rest. */
function verdictConditions(
  filter: ChangeFilter,
  after: Keyset | undefined,
  beyond: RawBuilder<unknown>,
): RawBuilder<unknown>[] {
  const conditions = [sql`true`, ...timeConditions(filter, sql.ref('q.at'))];
  if (filter.namespaces?.length) conditions.push(sql`q.namespace = any(${filter.namespaces}::text[])`);
  if (after)
    conditions.push(sql`(q.at, q.change_id) ${beyond} (${after.at}::timestamptz, ${after.id}::uuid)`);
  return conditions;
}

async function findRows(db: Kysely<Database>, { told, rows, keyed }: Selection): Promise<ChangeRow[]> {
  return told === 'changes' ? findChangeRows(db, rows, keyed) : findAttemptRows(db, rows);
}

/**
 * Changes after a place in a cluster's order of commit, oldest first: what `tail` follows. Late events show up here
 * when they come in, whatever their time.
 */
export async function findChangesAfter(
  db: Kysely<Database>,
  clusterID: number,
  seq: string,
  filter: ChangeFilter,
  all: boolean,
  limit: number,
): Promise<ChangeRow[]> {
  const resolved = await resolveFilter(db, clusterID, filter);
  if (!resolved) return [];
  const conditions = [...changeConditions(resolved, all), sql`c.seq > ${seq}::bigint`];
  const rows = await findChangeRows(
    db,
    sql`select c.* from changes c where ${sql.join(conditions, sql` and `)} order by c.seq limit ${limit}`,
    true,
  );
  return rows.sort((a, b) => Number(BigInt(a.seq) - BigInt(b.seq)));
}

/** The newest place in a cluster's order of commit. */
export async function findLastSeq(db: Kysely<Database>, clusterID: number): Promise<string> {
  const { rows } = await prepared(
    sql<{ seq: string }>`select seq from changes where cluster_id = ${clusterID} order by seq desc limit 1`,
  ).execute(db);
  return rows[0]?.seq ?? '0';
}

/** One change by its id, whose time tells its partition. Undefined when there is none. */
export async function findChange(db: Kysely<Database>, id: string): Promise<ChangeRow | undefined> {
  const millis = millisOfID(id);
  const since = new Date(millis).toISOString();
  const until = new Date(millis + 1).toISOString();
  const rows = await findChangeRows(
    db,
    sql`select c.* from changes c
         where c.cluster_id in (select id from clusters) and c.change_id = ${id}::uuid
           and c.at >= ${since}::timestamptz and c.at < ${until}::timestamptz`,
    true,
  );
  return rows[0];
}

/** What a change set off: the changes attributed to it, oldest first. */
export async function findConsequences(
  db: Kysely<Database>,
  cluster: string,
  id: string,
  limit: number,
): Promise<ChangeRow[]> {
  const [found] = await findClusters(db, [cluster]);
  if (!found) return [];
  const rows = await findChangeRows(
    db,
    sql`select c.* from attributions t
         cross join lateral (select * from changes where cluster_id = t.cluster_id and at = t.at and change_id = t.change_id offset 0) c
         where t.cluster_id = ${found.id} and t.trigger_change_id = ${id}::uuid
         order by c.at, c.change_id limit ${limit}`,
    true,
  );
  return rows.sort((a, b) => newestFirst(b, a));
}
