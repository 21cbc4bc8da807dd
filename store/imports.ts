import type { Pool } from 'pg';

/** A file that is to be imported, or has been. */
export interface ImportedFile {
  id: string;
  sourceID: number;
  clusterID: number;
  leaseToken: string;
  attempt: number;
}

export type BegunImport =
  | { state: 'begun'; file: ImportedFile }
  /** A file with this content was imported whole. */
  | { state: 'done'; id: string; events: number; stored: number; quarantined: number }
  /** Another request is sending it. */
  | { state: 'busy' };

interface FileRow {
  id: string;
  state: string;
  attempts: number;
  lease_token: string;
  busy: boolean;
  events: string;
  stored: string;
  quarantined: string;
}

/**
 * Takes a file of a source for this request. Files are known by their content (`etag` is its digest), so that one that
 * was imported under another name is found too.
 */
export async function beginImport(
  pool: Pool,
  source: { sourceID: number; clusterID: number },
  file: { name: string; etag: string; size: number | null },
  leaseSeconds: number,
): Promise<BegunImport> {
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    await client.query('begin');
    // Two requests with the same file take turns here.
    await client.query('select 1 from sources where id = $1 for update', [source.sourceID]);
    const { rows: known } = await client.query<FileRow>(
      `select id, state, state = 'leased' and due_at > now() as busy, attempts, lease_token, events, stored, quarantined from source_objects
        where cluster_id = $1 and source_id = $2 and bucket = '' and etag = $3 order by (state = 'done') desc, id limit 1`,
      [source.clusterID, source.sourceID, file.etag],
    );
    const before = known[0];
    // A damaged one may be read again: the second time, less is lost before each damaged place.
    if (before?.state === 'done' || before?.busy) {
      await client.query('rollback');
      if (before.busy) return { state: 'busy' };
      const { id, events, stored, quarantined } = before;
      return {
        state: 'done',
        id,
        events: Number(events),
        stored: Number(stored),
        quarantined: Number(quarantined),
      };
    }
    const { rows } = before
      ? await client.query<FileRow>(
          `update source_objects set state = 'leased', lease_token = gen_random_uuid(), lease_owner = 'import', attempts = attempts + 1,
                  due_at = now() + $3 * interval '1 second', started_at = now(), finished_at = null,
                  position = 0, events = 0, quarantined = 0, skipped = 0, salvaged = 0
            where cluster_id = $1 and id = $2 returning id, attempts, lease_token`,
          [source.clusterID, before.id, leaseSeconds],
        )
      : await client.query<FileRow>(
          `insert into source_objects (cluster_id, source_id, bucket, key, etag, size, last_modified, state, attempts, lease_owner, lease_token, due_at, started_at)
           values ($1, $2, '', $3, $4, $5, now(), 'leased', 1, 'import', gen_random_uuid(), now() + $6 * interval '1 second', now())
           returning id, attempts, lease_token`,
          [source.clusterID, source.sourceID, file.name, file.etag, file.size, leaseSeconds],
        );
    await client.query('commit');
    const row = rows[0]!;
    return {
      state: 'begun',
      file: { ...source, id: row.id, leaseToken: row.lease_token, attempt: row.attempts },
    };
  } catch (error) {
    broken = error as Error;
    await client.query('rollback').catch(() => undefined);
    throw error;
  } finally {
    client.release(broken);
  }
}

/** The source that a cluster's imported files belong to where none is named; made, with its cluster, when first used. */
export async function ensureImportSource(
  pool: Pool,
  cluster: string,
): Promise<{ name: string; sourceID: number; clusterID: number }> {
  const name = `import-${cluster}`.slice(0, 63).replace(/[^a-z0-9]+$/, '');
  await pool.query('insert into clusters (name) values ($1) on conflict (name) do nothing', [cluster]);
  await pool.query(
    `insert into sources (cluster_id, name, kind) select id, $2, 'import' from clusters where name = $1 on conflict (name) do nothing`,
    [cluster, name],
  );
  const { rows } = await pool.query<{ id: number; cluster_id: number }>(
    'select s.id, s.cluster_id from sources s join clusters k on k.id = s.cluster_id where s.name = $1 and k.name = $2',
    [name, cluster],
  );
  if (!rows[0]) throw new Error(`the source ${name} belongs to another cluster`);
  return { name, sourceID: rows[0].id, clusterID: rows[0].cluster_id };
}
