import { type Kysely, sql } from 'kysely';
import type { ApplicationState } from '../../core/drift/application-drift.js';
import type { DriftChange } from '../../core/drift/drift.js';
import type { ApplicationActionName } from '../../core/links/application-actions.js';
import type { ChangeKind } from '../../core/vocabulary.js';
import type { Database } from '../schema.js';
import { type SyncRow, syncOf } from '../verdicts/syncs.js';
import type { ApplicationRow } from './applications.js';
import { findBodies, objectIn } from './bodies.js';
import { CLOSE_ROWS } from './drift-objects.js';
import { changeOf, KEYS, WRITER, WRITERS, type WriterRow } from './drift-writers.js';
import { newestVersion, type VersionRow } from './objects.js';

const RECENT_SYNCS = 3;

/** What an application's own object, its syncs and what was asked of it tell. */
export async function findApplicationState(
  db: Kysely<Database>,
  application: ApplicationRow,
): Promise<ApplicationState> {
  const { cluster_id: clusterID, object_id: objectID, engine, cluster, namespace, name } = application;
  const versions = await sql<VersionRow & WriterRow>`
    select c.at, c.completed_at, c.change_id, c.order_rv, c.deleted, c.after_certainty as certainty, c.inferred,
           c.resource_version, c.flags, c.after_digest, ${WRITER}
      from (select * from changes where cluster_id = ${clusterID} and object_id = ${objectID}::uuid
               and after_certainty is not null order by at desc limit ${CLOSE_ROWS}) c ${WRITERS}
     order by c.at desc`.execute(db);
  const newest = newestVersion(versions.rows);
  const bodies = await findBodies(db, clusterID, [newest?.after_digest ?? null]);
  return {
    engine,
    cluster,
    key: { ...KEYS[engine], namespace, name },
    object: newest && !newest.deleted ? objectIn(bodies, newest.after_digest) : undefined,
    deleted: newest?.deleted ?? false,
    change: newest && changeOf(newest),
    syncs: await findSyncs(db, application),
    actions: await findActions(db, application),
    suspendedBy: engine === 'argocd' ? undefined : await findSuspension(db, application),
  };
}

/** The last few syncs, and the last that went well, newest first. */
async function findSyncs(db: Kysely<Database>, { cluster_id, object_id }: ApplicationRow) {
  const own = sql`cluster_id = ${cluster_id} and object_id = ${object_id}::uuid and not dry_run`;
  const { rows } = await sql<SyncRow>`
    select distinct on (s.started_at) s.*, k.name as cluster
      from ((select * from syncs where ${own} order by started_at desc limit ${RECENT_SYNCS})
            union all
            (select * from syncs where ${own} and phase = 'succeeded' order by started_at desc limit ${RECENT_SYNCS})) s
      join clusters k on k.id = s.cluster_id
     order by s.started_at desc`.execute(db);
  return rows.map(syncOf);
}

async function findActions(
  db: Kysely<Database>,
  { cluster_id, object_id }: ApplicationRow,
): Promise<Map<ApplicationActionName, DriftChange>> {
  const { rows } = await sql<WriterRow & { action: ApplicationActionName; initiator: string | null }>`
    select distinct on (action) action, at, change_id, username, null as impersonated_username, initiator
      from application_actions where cluster_id = ${cluster_id} and object_id = ${object_id}::uuid
     order by action, at desc`.execute(db);
  return new Map(
    rows.map((row) => [
      row.action,
      { ...changeOf(row), ...(row.initiator !== null && { initiator: row.initiator }) },
    ]),
  );
}

/** The last write that touched `spec.suspend`, among the last few hundred. */
async function findSuspension(
  db: Kysely<Database>,
  { cluster_id, object_id }: ApplicationRow,
): Promise<DriftChange | undefined> {
  const { rows } = await sql<WriterRow>`
    select c.change_id, c.at, ${WRITER}
      from (select * from (select * from changes where cluster_id = ${cluster_id} and object_id = ${object_id}::uuid
                            order by at desc limit 1000) recent
             where class = 'change' and field_terms && '{spec.suspend}' order by at desc limit 1) c ${WRITERS}`.execute(
    db,
  );
  return rows[0] && changeOf(rows[0]);
}

/**
 * Which of some objects the ledger ever heard of, whatever of: as `group namespace/name`. Kinds can't be told from
 * resources without a cluster, so that one of the same name and group counts.
 */
export async function findHeardOf(
  db: Kysely<Database>,
  clusterID: number,
  names: readonly string[],
): Promise<Set<string>> {
  if (names.length === 0) return new Set();
  const { rows } = await sql<{ api_group: string; namespace: string; name: string }>`
    select distinct o.api_group, o.namespace, o.name from objects o
     where o.cluster_id = ${clusterID} and o.name = any(${[...new Set(names)]}::text[])`.execute(db);
  return new Set(rows.map((row) => `${row.api_group} ${row.namespace}/${row.name}`));
}

/** Whether an object was recorded from its creation on. */
export async function isRecordedWhole(
  db: Kysely<Database>,
  { cluster_id, object_id }: ApplicationRow,
): Promise<boolean> {
  const { rows } = await sql<{ kind: ChangeKind }>`
    select kind from changes where cluster_id = ${cluster_id} and object_id = ${object_id}::uuid and after_certainty is not null
     order by at limit 1`.execute(db);
  return rows[0]?.kind === 'create';
}
