import { type Kysely, type SqlBool, sql } from 'kysely';
import type { JsonObject } from '../../core/audit-event.js';
import { type ObjectKey, objectID } from '../../core/identity.js';
import type { Inferred } from '../../core/state.js';
import { parseMicros } from '../../core/timestamp.js';
import type { Certainty, EventClass } from '../../core/vocabulary.js';
import { prepared } from '../prepared.js';
import type { Database } from '../schema.js';
import { findBodies, objectIn } from './bodies.js';
import { findClusters } from './change-filter.js';
import { type ChangeRow, findChangeRows, newestFirst } from './change-rows.js';
import { decodeNames, encodeNames, type Keyset, type Page, pageOf } from './cursor.js';
import { findInSteps, timeSteps, within } from './time-steps.js';

/** An object's state at a time, and the version that tells it. */
export interface StateRow {
  at: string;
  change_id: string;
  deleted: boolean;
  certainty: Certainty;
  inferred: Inferred | null;
  resource_version: string | null;
  flags: string[] | null;
  object: JsonObject | undefined;
}

export interface VersionRow extends Omit<StateRow, 'object'> {
  completed_at: string;
  order_rv: string;
  after_digest: Buffer | null;
}

/** What says which of two versions is the newer. */
type VersionOrder = Pick<VersionRow, 'completed_at' | 'order_rv' | 'resource_version'>;

/** The newest of the last versions, which are ordered by time. Undefined where there is none. */
export function newestVersion<T extends VersionOrder>(rows: readonly T[]): T | undefined {
  const [first, ...others] = rows;
  return first && others.reduce((best, row) => (isNewer(row, best) ? row : best), first);
}

/** Versions received this close to each other are ordered by resourceVersion, not by their time. */
const CLOSE_ROWS = 6;

/** The newest version at or before a time (RFC 3339). Undefined where none is recorded by then. */
export async function findState(
  db: Kysely<Database>,
  clusterID: number,
  key: ObjectKey,
  at: string,
): Promise<StateRow | undefined> {
  const { rows } = await prepared(sql<VersionRow>`
    select at, completed_at, change_id, order_rv, deleted, after_certainty as certainty, inferred, resource_version, flags, after_digest
      from changes
     where cluster_id = ${clusterID} and object_id = ${objectID(key)}::uuid and after_certainty is not null and at <= ${at}::timestamptz
     order by at desc limit ${CLOSE_ROWS}`).execute(db);
  const newest = newestVersion(rows);
  if (!newest) return undefined;
  const bodies = await findBodies(db, clusterID, [newest.after_digest]);
  return { ...newest, object: objectIn(bodies, newest.after_digest) };
}

function isNewer(a: VersionOrder, b: VersionOrder): boolean {
  if (a.resource_version !== null && b.resource_version !== null && a.order_rv !== b.order_rv)
    return BigInt(a.order_rv) > BigInt(b.order_rv);
  return parseMicros(a.completed_at)! > parseMicros(b.completed_at)!;
}

/** An object's changes of every class (or of those given), newest first. */
export async function findHistory(
  db: Kysely<Database>,
  clusterID: number,
  key: ObjectKey,
  classes: EventClass[] | undefined,
  after: Keyset | undefined,
  limit: number,
): Promise<Page<ChangeRow>> {
  const conditions = [sql`c.cluster_id = ${clusterID}`, sql`c.object_id = ${objectID(key)}::uuid`];
  if (classes) conditions.push(sql`c.class = any(${classes}::event_class[])`);
  if (after) conditions.push(sql`(c.at, c.change_id) < (${after.at}::timestamptz, ${after.id}::uuid)`);
  const spans = timeSteps({}, after, false, Date.now());
  const rows = await findInSteps(spans, limit + 1, async ({ since, until }, most) => {
    const found = await findChangeRows(
      db,
      sql`select c.* from changes c
           where ${sql.join(conditions, sql` and `)} and ${within({ since: since ?? '-infinity', until: until ?? 'infinity' })}
           order by c.at desc, c.change_id desc limit ${most}`,
      true,
    );
    return found.sort(newestFirst);
  });
  return pageOf(rows, limit, (row) => ({ at: row.at, id: row.change_id }));
}

export interface ObjectRow {
  cluster: string;
  api_group: string;
  resource: string;
  namespace: string;
  name: string;
}

/** One page of known objects by any of their names: by cluster, namespace, resource, name and group. */
export async function findObjects(
  db: Kysely<Database>,
  filter: { cluster?: string; namespace?: string; resource?: string; group?: string; name?: string },
  cursor: string | undefined,
  limit: number,
): Promise<Page<ObjectRow>> {
  const after = decodeNames(cursor, 5);
  const rows: ObjectRow[] = [];
  const clusters = await findClusters(db, filter.cluster === undefined ? undefined : [filter.cluster]);
  clusters.sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const cluster of clusters) {
    if (after && cluster.name < after[0]!) continue;
    const place = after && cluster.name === after[0] ? after.slice(1) : undefined;
    const found = await findObjectsAfter(db, cluster.id, filter, place, limit + 1 - rows.length);
    rows.push(...found.map((row) => ({ cluster: cluster.name, ...row })));
    if (rows.length > limit) break;
  }
  const items = rows.slice(0, limit);
  const last = items.at(-1);
  const next =
    rows.length > limit && last
      ? encodeNames([last.cluster, last.namespace, last.resource, last.name, last.api_group])
      : null;
  return { items, next };
}

async function findObjectsAfter(
  db: Kysely<Database>,
  clusterID: number,
  filter: { namespace?: string; resource?: string; group?: string; name?: string },
  place: string[] | undefined,
  limit: number,
): Promise<Array<Omit<ObjectRow, 'cluster'>>> {
  let query = db
    .selectFrom('objects')
    .select(['api_group', 'resource', 'namespace', 'name'])
    .where('cluster_id', '=', clusterID)
    .where('name', '<>', '');
  if (filter.namespace !== undefined) query = query.where('namespace', '=', filter.namespace);
  if (filter.resource !== undefined) query = query.where('resource', '=', filter.resource);
  if (filter.group !== undefined) query = query.where('api_group', '=', filter.group);
  if (filter.name !== undefined) query = query.where('name', '=', filter.name);
  if (place) {
    // Said once more by itself, the first column is one that an index finds.
    query = query.where('namespace', '>=', place[0]!);
    query = query.where(sql<SqlBool>`(namespace, resource, name, api_group) > (${sql.join(place)})`);
  }
  return query
    .orderBy('namespace')
    .orderBy('resource')
    .orderBy('name')
    .orderBy('api_group')
    .limit(limit)
    .execute();
}
