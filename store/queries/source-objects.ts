import { type Kysely, sql } from 'kysely';
import type { Database } from '../schema.js';
import type { Trouble } from '../source-objects.js';
import { type Keyset, type Page, pageOf } from './cursor.js';

export const OBJECT_STATES = ['new', 'leased', 'failed', 'done', 'damaged', 'gone', 'replaced'] as const;
export type ObjectState = (typeof OBJECT_STATES)[number];

export interface SourceObjectItem {
  id: string;
  bucket: string;
  key: string;
  etag: string;
  version_id: string | null;
  size: string | null;
  last_modified: string;
  found_at: string;
  state: ObjectState;
  attempts: number;
  due_at: string;
  lease_owner: string | null;
  started_at: string | null;
  finished_at: string | null;
  position: string;
  events: string;
  stored: string;
  quarantined: string;
  skipped: string;
  salvaged: string;
  error: Trouble | null;
  error_at: string | null;
}

/** The ledger of a source's objects, the last written first; those of one state, if one is named. */
export async function findSourceObjects(
  db: Kysely<Database>,
  source: { id: number; clusterID: number },
  filter: { state: ObjectState | undefined },
  after: Keyset | undefined,
  limit: number,
): Promise<Page<SourceObjectItem>> {
  const { rows } = await sql<SourceObjectItem>`
    select id, bucket, key, etag, version_id, size, last_modified, found_at, state, attempts, due_at, lease_owner, started_at,
           finished_at, position, events, stored, quarantined, skipped, salvaged, error, error_at
      from source_objects
     where cluster_id = ${source.clusterID} and source_id = ${source.id}
       and ${filter.state === undefined ? sql`true` : sql`state = ${filter.state}`}
       and ${after === undefined ? sql`true` : sql`(last_modified, id) < (${after.at}, ${after.id}::bigint)`}
     order by last_modified desc, id desc limit ${limit + 1}`.execute(db);
  return pageOf(rows, limit, (row) => ({ at: row.last_modified, id: row.id }));
}

/** Has objects that failed or are damaged read again at once, and listings that failed. Returns how many objects. */
export async function retrySourceObjects(
  db: Kysely<Database>,
  source: { id: number; clusterID: number },
): Promise<number> {
  return db.transaction().execute(async (transaction) => {
    await sql`update s3_scans set due_at = now() where source_id = ${source.id} and state = 'active' and lease_token is null`.execute(
      transaction,
    );
    const { numAffectedRows } = await sql`
      update source_objects set state = 'failed', due_at = now(), attempts = 0
       where cluster_id = ${source.clusterID} and source_id = ${source.id} and state in ('failed', 'damaged') and bucket <> ''`.execute(
      transaction,
    );
    return Number(numAffectedRows ?? 0);
  });
}
