import { type Kysely, sql } from 'kysely';
import type { Database } from '../schema.js';

/** The name under which a file with this SHA-256 (hex) was imported whole, into a source or a cluster's own one. */
export async function findImported(
  db: Kysely<Database>,
  target: { source?: string | undefined; cluster?: string | undefined },
  sha256: string,
): Promise<string | undefined> {
  const { rows } = await sql<{ key: string }>`
    select o.key from sources s
      join clusters k on k.id = s.cluster_id
      join source_objects o on o.cluster_id = s.cluster_id and o.source_id = s.id and o.bucket = ''
       and o.etag = ${`sha256:${sha256}`} and o.state = 'done'
     where ${target.source === undefined ? sql`k.name = ${target.cluster} and s.kind = 'import'` : sql`s.name = ${target.source}`}
     limit 1`.execute(db);
  return rows[0]?.key;
}
