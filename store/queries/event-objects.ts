import { type Kysely, sql } from 'kysely';
import type { ToldIn } from '../../core/provenance.js';
import { prepared } from '../prepared.js';
import type { Database } from '../schema.js';

/**
 * Which objects gave these events of a cluster, by `events.seq`. Events that came by a webhook have none. One index probe
 * for each event: the parts of a cluster don't overlap.
 */
export async function findObjectsOfEvents(
  db: Kysely<Database>,
  clusterID: number,
  seqs: readonly string[],
): Promise<Map<string, ToldIn>> {
  if (seqs.length === 0) return new Map();
  const { rows } = await prepared(sql<ToldIn & { seq: string }>`
    select e.seq, o.bucket, o.key, o.etag, o.version_id as "versionID"
      from unnest(${[...new Set(seqs)]}::bigint[]) as e (seq)
      cross join lateral (
        select object_id, seq_to from source_object_parts
         where cluster_id = ${clusterID} and seq_from <= e.seq
         order by seq_from desc limit 1) p
      join source_objects o on o.cluster_id = ${clusterID} and o.id = p.object_id
     where p.seq_to > e.seq`).execute(db);
  return new Map(rows.map(({ seq, ...object }) => [seq, object]));
}
