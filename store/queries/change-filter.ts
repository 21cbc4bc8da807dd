import { type Kysely, type RawBuilder, type SqlBool, sql } from 'kysely';
import { builtInController } from '../../core/actors.js';
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
  /** `key=value` */
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
  objectIDs: string[] | undefined;
  userIDs: string[] | undefined;
  /** The user agents of the tools asked for. */
  userAgentIDs: string[] | undefined;
  /** Users to leave out. */
  exceptIDs: string[];
  filter: ChangeFilter;
}

const MAX_LOOKUP = 2000;

export async function findClusters(
  db: Kysely<Database>,
  names: string[] | undefined,
): Promise<Array<{ id: number; name: string }>> {
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
  const objectIDs = filter.names?.length ? await findObjectIDs(db, clusterID, filter) : undefined;
  const userIDs = filter.actors?.length ? await findUserIDs(db, clusterID, filter.actors) : undefined;
  if (objectIDs?.length === 0 || userIDs?.length === 0) return undefined;
  const userAgentIDs = filter.tools?.length ? await findUserAgentIDs(db, clusterID, filter.tools) : undefined;
  const exceptIDs = filter.withoutControllers ? await findControllerIDs(db, clusterID) : [];
  return { clusterID, objectIDs, userIDs, userAgentIDs, exceptIDs, filter };
}

async function findUserIDs(db: Kysely<Database>, clusterID: number, actors: string[]): Promise<string[]> {
  const rows = await db
    .selectFrom('users')
    .select('id')
    .where('cluster_id', '=', clusterID)
    .where((eb) =>
      eb.or(
        actors.map((actor) =>
          actor.includes('*') ? eb('username', 'like', likeOf(actor)) : eb('username', '=', actor),
        ),
      ),
    )
    .limit(MAX_LOOKUP)
    .execute();
  return rows.map((row) => row.id);
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

async function findControllerIDs(db: Kysely<Database>, clusterID: number): Promise<string[]> {
  const rows = await db
    .selectFrom('users')
    .select(['id', 'username'])
    .where('cluster_id', '=', clusterID)
    .where('username', 'like', 'system:%')
    .execute();
  return rows.filter((row) => builtInController(row.username) !== undefined).map((row) => row.id);
}

/** Objects by name are looked up by index, except where group, resource and namespace are told too: then the id is known. */
async function findObjectIDs(
  db: Kysely<Database>,
  clusterID: number,
  filter: ChangeFilter,
): Promise<string[]> {
  const { names = [], namespaces = [], resources = [] } = filter;
  if (
    names.every((name) => !name.includes('*')) &&
    namespaces.length > 0 &&
    resources.length > 0 &&
    resources.every((item) => item.group !== undefined)
  ) {
    return names.flatMap((name) =>
      namespaces.flatMap((namespace) =>
        resources.map(({ resource, group }) => objectID({ apiGroup: group!, resource, namespace, name })),
      ),
    );
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
  return (await query.limit(MAX_LOOKUP).execute()).map((row) => row.id);
}

function likeOf(pattern: string): string {
  return pattern.replace(/[\\%_]/g, '\\$&').replaceAll('*', '%');
}

/** The conditions on rows of `changes c`. */
export function changeConditions(
  { clusterID, objectIDs, userIDs, exceptIDs, filter }: ResolvedFilter,
  all: boolean,
): RawBuilder<unknown>[] {
  const conditions = [sql`c.cluster_id = ${clusterID}`, ...timeConditions(filter, sql.ref('c.at'))];
  const asked = filter.classes?.filter((item) => (CHANGE_CLASSES as readonly EventClass[]).includes(item));
  const classes = asked ?? (all ? undefined : VISIBLE);
  // Written out, since the indexes for default questions hold these classes only.
  if (classes?.every((item) => VISIBLE.includes(item))) conditions.push(sql`c.class in ('change', 'access')`);
  if (classes && classes !== VISIBLE) conditions.push(sql`c.class = any(${classes}::event_class[])`);
  if (objectIDs) conditions.push(sql`c.object_id = any(${objectIDs}::uuid[])`);
  if (userIDs)
    conditions.push(
      sql`(c.user_id = any(${userIDs}::bigint[]) or c.impersonated_user_id = any(${userIDs}::bigint[]))`,
    );
  if (exceptIDs.length > 0) conditions.push(sql`c.user_id <> all(${exceptIDs}::bigint[])`);
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
  for (const label of filter.labels ?? []) conditions.push(sql`c.labels @> array[${label}]::text[]`);
  for (const field of filter.fields ?? []) conditions.push(sql`c.field_terms @> array[${field}]::text[]`);
  return conditions;
}

export function timeConditions(
  filter: { since?: string; until?: string },
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
