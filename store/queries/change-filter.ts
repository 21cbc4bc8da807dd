import {
  type Expression,
  type Kysely,
  type RawBuilder,
  type SelectQueryBuilder,
  type SqlBool,
  sql,
} from 'kysely';
import { BUILT_IN_CONTROLLERS } from '../../core/actors.js';
import { formerLabelTerm } from '../../core/diff/field-path.js';
import { objectID } from '../../core/identity.js';
import type { VerdictName } from '../../core/verdict/verdict.js';
import { CHANGE_CLASSES, type ChangeKind, type EventClass } from '../../core/vocabulary.js';
import type { Database } from '../schema.js';
import type { DeployedCommits } from './deployed-commits.js';

/** What a question about changes may ask for. Lists mean any of; all that is given must hold. Times are RFC 3339. */
export interface ChangeFilter {
  clusters?: string[];
  namespaces?: string[];
  resources?: Array<{ resource: string; group?: string }>;
  /** Exact, or a prefix followed by `*`. */
  names?: string[];
  /** `key=value`, which the object bore after the change or before it. */
  labels?: string[];
  /** Exact usernames, or with `*` for anything; user and impersonatedUser alike. */
  actors?: string[];
  tools?: string[];
  verbs?: string[];
  kinds?: ChangeKind[];
  classes?: EventClass[];
  /** Field paths; a path stands for all below it, `[*]` for any list item. */
  fields?: string[];
  /** Subresources of the request. */
  subresources?: string[];
  verdicts?: VerdictName[];
  /** Changes that brought any of these commits. */
  commits?: DeployedCommits;
  /** Leaves out what built-in controllers did. */
  withoutControllers?: boolean;
  since?: string;
  until?: string;
}

/** The classes a default answer shows. */
export const VISIBLE: EventClass[] = ['change', 'access'];

/** A filter with its names looked up in one cluster. Undefined where nothing there can match. */
export interface ResolvedFilter {
  clusterID: number;
  objects: Matches | undefined;
  users: Matches | undefined;
  /** The user agents of the tools asked for. */
  userAgentIDs: string[] | undefined;
  filter: ChangeFilter;
}

/** Entries of a dictionary: by their ids where they are few, otherwise as the subquery that finds them. */
export type Matches = { ids: string[] } | { found: Expression<unknown> };

/**
 * More than these are not listed. A name pattern may hold every pod of a year, and a service account has an entry for each
 * of its tokens.
 */
const MOST_LISTED = 200;

export interface Cluster {
  id: number;
  name: string;
}

/** Clusters by name, or all that there are. */
export async function findClusters(db: Kysely<Database>, names: string[] | undefined): Promise<Cluster[]> {
  let query = db.selectFrom('clusters').select(['id', 'name']);
  if (names?.length) query = query.where('name', 'in', names);
  return query.orderBy('id').execute();
}

/** Looks the filter's names up in the dictionaries, so that the big tables are asked by id. */
export async function resolveFilter(
  db: Kysely<Database>,
  clusterID: number,
  filter: ChangeFilter,
): Promise<ResolvedFilter | undefined> {
  const objects = filter.names?.length ? await matchObjects(db, clusterID, filter) : undefined;
  if (!objects && !(await isAnythingIn(db, clusterID, filter.namespaces))) return undefined;
  const users = filter.actors?.length ? await matchUsers(db, clusterID, filter.actors) : undefined;
  if (isEmpty(objects) || isEmpty(users)) return undefined;
  const userAgentIDs = filter.tools?.length ? await findUserAgentIDs(db, clusterID, filter.tools) : undefined;
  return { clusterID, objects, users, userAgentIDs, filter };
}

function isEmpty(matches: Matches | undefined): boolean {
  return matches !== undefined && 'ids' in matches && matches.ids.length === 0;
}

async function matchesOf<Table extends keyof Database>(
  query: SelectQueryBuilder<Database, Table, { id: string }>,
): Promise<Matches> {
  const rows = await query.limit(MOST_LISTED + 1).execute();
  return rows.length > MOST_LISTED ? { found: query } : { ids: rows.map((row) => row.id) };
}

/** The condition that a column refers to one of the matches. */
export function isOneOf(column: string, type: 'uuid' | 'bigint', matches: Matches): RawBuilder<SqlBool> {
  return 'ids' in matches
    ? sql`${sql.ref(column)} = any(${matches.ids}::${sql.raw(type)}[])`
    : sql`${sql.ref(column)} in ${matches.found}`;
}

function matchUsers(db: Kysely<Database>, clusterID: number, actors: string[]): Promise<Matches> {
  const query = db
    .selectFrom('users')
    .select('id')
    .where('cluster_id', '=', clusterID)
    .where((eb) =>
      eb.or(
        actors.map((actor) =>
          actor.includes('*') ? eb('username', 'like', likeOf(actor)) : eb('username', '=', actor),
        ),
      ),
    );
  return matchesOf(query);
}

async function findUserAgentIDs(db: Kysely<Database>, clusterID: number, tools: string[]): Promise<string[]> {
  const rows = await db
    .selectFrom('user_agents')
    .select('id')
    .where('cluster_id', '=', clusterID)
    .where('tool', 'in', tools)
    .execute();
  return rows.map((row) => row.id);
}

/**
 * The condition that a request, a row `c`, was not made by a built-in controller. Its user is looked up for each row: a
 * controller has an entry for each of its tokens, too many in a year to be listed, and a join would read them all.
 */
export function isNotByController(): RawBuilder<SqlBool> {
  const { names, prefix } = BUILT_IN_CONTROLLERS;
  return sql<SqlBool>`not (select starts_with(w.username, ${prefix}) or w.username = any(${names}::text[])
                             from users w where w.cluster_id = c.cluster_id and w.id = c.user_id)`;
}

/** Objects by name are looked up by index, except where group, resource and namespace are told too: then the id is known. */
async function matchObjects(db: Kysely<Database>, clusterID: number, filter: ChangeFilter): Promise<Matches> {
  const { names = [], namespaces = [], resources = [] } = filter;
  if (
    names.every((name) => !name.includes('*')) &&
    namespaces.length > 0 &&
    resources.length > 0 &&
    resources.every((item) => item.group !== undefined)
  ) {
    const ids = names.flatMap((name) =>
      namespaces.flatMap((namespace) =>
        resources.map(({ resource, group }) => objectID({ apiGroup: group!, resource, namespace, name })),
      ),
    );
    return { ids };
  }
  let query = db
    .selectFrom('objects')
    .select('id')
    .where('cluster_id', '=', clusterID)
    .where((eb) =>
      eb.or(
        names.map((name) => (name.includes('*') ? eb('name', 'like', likeOf(name)) : eb('name', '=', name))),
      ),
    );
  if (namespaces.length > 0) query = query.where('namespace', 'in', namespaces);
  if (resources.length > 0) query = query.where(resourceCondition(resources, 'objects'));
  return matchesOf(query);
}

/**
 * Whether there is an object in any of the namespaces. In one that was mistyped, or is of another cluster, there is none; to
 * find that out among the events, where not each class has an index by namespace, would take reading all.
 */
async function isAnythingIn(
  db: Kysely<Database>,
  clusterID: number,
  namespaces: string[] | undefined,
): Promise<boolean> {
  if (!namespaces?.length) return true;
  const found = await db
    .selectFrom('objects')
    .select('id')
    .where('cluster_id', '=', clusterID)
    .where('namespace', 'in', namespaces)
    .limit(1)
    .execute();
  return found.length > 0;
}

function likeOf(pattern: string): string {
  return pattern.replace(/[\\%_]/g, '\\$&').replaceAll('*', '%');
}

/** Of one class, equality: it keeps the order of the index by class and time, and the first page ends with its last row. */
export function isOfClass(column: string, classes: readonly EventClass[]): RawBuilder<SqlBool> {
  return classes.length === 1
    ? sql<SqlBool>`${sql.ref(column)} = ${classes[0]}::event_class`
    : sql<SqlBool>`${sql.ref(column)} = any(${classes}::event_class[])`;
}

/** The conditions on rows of `changes c`. */
export function changeConditions(
  { clusterID, objects, users, filter }: ResolvedFilter,
  all: boolean,
): RawBuilder<unknown>[] {
  const conditions = [sql`c.cluster_id = ${clusterID}`, ...timeConditions(filter, sql.ref('c.at'))];
  const asked = filter.classes?.filter((item) => (CHANGE_CLASSES as readonly EventClass[]).includes(item));
  const classes = asked ?? (all ? undefined : VISIBLE);
  // Written out, since the indexes for default questions hold these classes only.
  if (classes?.every((item) => VISIBLE.includes(item))) conditions.push(sql`c.class in ('change', 'access')`);
  if (classes && classes !== VISIBLE) conditions.push(sql`c.class = any(${classes}::event_class[])`);
  if (objects) conditions.push(isOneOf('c.object_id', 'uuid', objects));
  if (users) conditions.push(isDoneBy(users));
  if (filter.withoutControllers) conditions.push(isNotByController());
  if (filter.subresources?.length) conditions.push(oneOf('c.subresource', filter.subresources));
  // Objects found by name are of the namespaces and resources asked for; said twice, Postgres expects too few rows.
  if (!filter.names?.length) {
    if (filter.namespaces?.length) conditions.push(oneOf('c.namespace', filter.namespaces));
    if (filter.resources?.length) conditions.push(resourceCondition(filter.resources, 'c'));
  }
  if (filter.tools?.length) conditions.push(oneOf('c.tool', filter.tools));
  if (filter.verbs?.length) conditions.push(oneOf('c.verb', filter.verbs));
  if (filter.kinds?.length) {
    conditions.push(
      filter.kinds.length === 1
        ? sql`c.kind = ${filter.kinds[0]!}::change_kind`
        : sql`c.kind = any(${filter.kinds}::change_kind[])`,
    );
  }
  if (filter.verdicts?.length)
    conditions.push(
      sql`(c.at, c.change_id) in (select q.at, q.change_id from current_verdicts q where q.cluster_id = ${clusterID}
            and q.verdict = any(${filter.verdicts}::verdict_name[]) and ${sql.join(timeConditionsOrTrue(filter, sql.ref('q.at')), sql` and `)})`,
    );
  if (filter.commits)
    conditions.push(
      sql`(c.at, c.change_id) in (
            select q.at, q.change_id from current_verdicts q where q.cluster_id = ${clusterID} and q.range_ids && ${filter.commits.rangeIDs}::bigint[]
            union all
            select q.at, q.change_id from links q where q.cluster_id = ${clusterID} and q.shas && ${filter.commits.shas}::text[])`,
    );
  for (const label of filter.labels ?? [])
    conditions.push(
      sql`(c.labels @> array[${label}]::text[] or c.field_terms @> array[${formerLabelTerm(label)}]::text[])`,
    );
  for (const field of filter.fields ?? []) conditions.push(sql`c.field_terms @> array[${field}]::text[]`);
  return conditions;
}

/** The condition that a request, a row `c`, was made by one of the users, or in the name of one. */
export function isDoneBy(users: Matches): RawBuilder<SqlBool> {
  return sql`(${isOneOf('c.user_id', 'bigint', users)} or ${isOneOf('c.impersonated_user_id', 'bigint', users)})`;
}

export function timeConditions(
  filter: { since?: string | undefined; until?: string | undefined },
  at: RawBuilder<unknown> | ReturnType<typeof sql.ref>,
): RawBuilder<unknown>[] {
  const conditions: RawBuilder<unknown>[] = [];
  if (filter.since !== undefined) conditions.push(sql`${at} >= ${filter.since}::timestamptz`);
  if (filter.until !== undefined) conditions.push(sql`${at} < ${filter.until}::timestamptz`);
  return conditions;
}

function timeConditionsOrTrue(
  filter: { since?: string; until?: string },
  at: ReturnType<typeof sql.ref>,
): RawBuilder<unknown>[] {
  return [sql`true`, ...timeConditions(filter, at)];
}

export function resourceCondition(
  resources: Array<{ resource: string; group?: string }>,
  table: string,
): RawBuilder<SqlBool> {
  const each = resources.map(({ resource, group }) =>
    group === undefined
      ? sql`${sql.ref(`${table}.resource`)} = ${resource}`
      : sql`(${sql.ref(`${table}.resource`)} = ${resource} and ${sql.ref(`${table}.api_group`)} = ${group})`,
  );
  return sql<SqlBool>`(${sql.join(each, sql` or `)})`;
}

/** Equality keeps an index's order where `any` would not. */
function oneOf(column: string, values: string[]): RawBuilder<unknown> {
  return values.length === 1
    ? sql`${sql.ref(column)} = ${values[0]!}`
    : sql`${sql.ref(column)} = any(${values}::text[])`;
}
