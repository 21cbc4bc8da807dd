import { type Kysely, type RawBuilder, sql } from 'kysely';
import { millisOfID } from '../../core/identity.js';
import type { EventClass } from '../../core/vocabulary.js';
import type { Database } from '../schema.js';
import {
  type ChangeFilter,
  changeConditions,
  findClusters,
  type ResolvedFilter,
  resolveFilter,
  resourceCondition,
  timeConditions,
} from './change-filter.js';
import { type ChangeRow, selectAttempts, selectChanges } from './change-rows.js';
import { type Keyset, type Page, pageOf } from './cursor.js';

/** Classes of events that `all` shows beside changes. Reads are shown only when asked for by class. */
const ATTEMPTS: EventClass[] = [
  'dry_run',
  'no_op',
  'rejected',
  'failed_auth',
  'lease',
  'kube_event',
  'review',
];
const EVENT_ONLY = new Set<EventClass>([...ATTEMPTS, 'read', 'secret_read']);

export interface ChangeQuestion {
  filter: ChangeFilter;
  /** Every class, not only those a person cares for. */
  all: boolean;
  ascending: boolean;
  after: Keyset | undefined;
  limit: number;
}

/** One page of changes, newest first unless `ascending`. */
export async function findChanges(db: Kysely<Database>, question: ChangeQuestion): Promise<Page<ChangeRow>> {
  const rows: ChangeRow[] = [];
  for (const statement of await statementsOf(db, question, question.limit + 1))
    rows.push(...(await statement.execute(db)).rows);
  const sign = question.ascending ? -1 : 1;
  rows.sort((a, b) =>
    a.at === b.at ? (a.change_id < b.change_id ? sign : -sign) : a.at < b.at ? sign : -sign,
  );
  return pageOf(rows, question.limit, (row) => ({ at: row.at, id: row.change_id }));
}

/** The statements that together answer a question, each in the question's order; a page is their merge. */
export async function statementsOf(
  db: Kysely<Database>,
  question: ChangeQuestion,
  limit: number | undefined,
): Promise<RawBuilder<ChangeRow>[]> {
  const { filter, all, ascending, after } = question;
  const attempts = attemptsOf(filter, all);
  const direction = ascending ? sql`asc` : sql`desc`;
  const beyond = ascending ? sql`>` : sql`<`;
  const statements: RawBuilder<ChangeRow>[] = [];
  for (const cluster of await findClusters(db, filter.clusters)) {
    const resolved = await resolveFilter(db, cluster.id, filter);
    if (!resolved) continue;
    if (!onlyAttempts(filter)) {
      const conditions = changeConditions(resolved, all);
      if (after)
        conditions.push(sql`(c.at, c.change_id) ${beyond} (${after.at}::timestamptz, ${after.id}::uuid)`);
      statements.push(selectChanges(conditions, sql`c.at ${direction}, c.change_id ${direction}`, limit));
    }
    if (attempts.length > 0 && canBeAttempt(resolved)) {
      const conditions = attemptConditions(resolved, attempts);
      if (after)
        conditions.push(sql`(c.at, c.request_id) ${beyond} (${after.at}::timestamptz, ${after.id}::uuid)`);
      statements.push(selectAttempts(conditions, sql`c.at ${direction}, c.request_id ${direction}`, limit));
    }
  }
  return statements;
}

/** The classes asked for that are told by events, without a row in `changes`. */
export function attemptsOf(filter: ChangeFilter, all: boolean): EventClass[] {
  return (filter.classes ?? (all ? ATTEMPTS : [])).filter((item) => EVENT_ONLY.has(item));
}

/** Whether nothing is asked for that has a row in `changes`. */
export function onlyAttempts(filter: ChangeFilter): boolean {
  return filter.classes?.every((item) => EVENT_ONLY.has(item)) ?? false;
}

/** Kinds, fields, labels and verdicts are known of changes only. A tool that was never seen has made no request. */
export function canBeAttempt({ filter, userAgentIDs }: ResolvedFilter): boolean {
  if (userAgentIDs?.length === 0 && !filter.tools?.includes('unknown')) return false;
  if (filter.verdicts?.length || filter.commits) return false;
  return !filter.kinds?.length && !filter.fields?.length && !filter.labels?.length;
}

/** The conditions on rows of `events c`, joined with `objects o`. */
export function attemptConditions(
  { clusterID, objectIDs, userIDs, userAgentIDs, exceptIDs, filter }: ResolvedFilter,
  classes: EventClass[],
): RawBuilder<unknown>[] {
  const conditions = [
    sql`c.cluster_id = ${clusterID}`,
    sql`c.class = any(${classes}::event_class[])`,
    ...timeConditions(filter, sql.ref('c.at')),
  ];
  if (objectIDs) conditions.push(sql`c.object_id = any(${objectIDs}::uuid[]) and c.class <> 'stage'`);
  if (userIDs)
    conditions.push(
      sql`(c.user_id = any(${userIDs}::bigint[]) or c.impersonated_user_id = any(${userIDs}::bigint[])) and c.class <> 'stage'`,
    );
  if (exceptIDs.length > 0) conditions.push(sql`c.user_id <> all(${exceptIDs}::bigint[])`);
  if (filter.subresources?.length)
    conditions.push(sql`c.object_ref->>'subresource' = any(${filter.subresources}::text[])`);
  if (filter.namespaces?.length) conditions.push(sql`o.namespace = any(${filter.namespaces}::text[])`);
  if (filter.resources?.length) conditions.push(resourceCondition(filter.resources, 'o'));
  if (userAgentIDs) {
    // A request without a user agent is of an unknown tool.
    const unnamed = filter.tools?.includes('unknown') ? sql`c.user_agent_id is null` : sql`false`;
    conditions.push(sql`(c.user_agent_id = any(${userAgentIDs}::bigint[]) or ${unnamed})`);
  }
  if (filter.verbs?.length) conditions.push(sql`c.verb = any(${filter.verbs}::text[])`);
  return conditions;
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
  return (await selectChanges(conditions, sql`c.seq`, limit).execute(db)).rows;
}

/** The newest place in a cluster's order of commit. */
export async function findLastSeq(db: Kysely<Database>, clusterID: number): Promise<string> {
  const { rows } = await sql<{
    seq: string;
  }>`select seq from changes where cluster_id = ${clusterID} order by seq desc limit 1`.execute(db);
  return rows[0]?.seq ?? '0';
}

/** One change by its id, whose time tells its partition. Undefined when there is none. */
export async function findChange(db: Kysely<Database>, id: string): Promise<ChangeRow | undefined> {
  const millis = millisOfID(id);
  const since = new Date(millis).toISOString();
  const until = new Date(millis + 1).toISOString();
  const conditions = [
    sql`c.change_id = ${id}::uuid`,
    sql`c.at >= ${since}::timestamptz`,
    sql`c.at < ${until}::timestamptz`,
    sql`c.cluster_id in (select id from clusters)`,
  ];
  const { rows } = await selectChanges(conditions, sql`c.at, c.change_id`, 2).execute(db);
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
  const conditions = [
    sql`c.cluster_id = ${found.id}`,
    sql`(c.at, c.change_id) in (select t.at, t.change_id from attributions t where t.cluster_id = ${found.id} and t.trigger_change_id = ${id}::uuid)`,
  ];
  return (await selectChanges(conditions, sql`c.at, c.change_id`, limit).execute(db)).rows;
}
