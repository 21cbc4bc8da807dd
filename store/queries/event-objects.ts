import { type Kysely, sql } from 'kysely';
import type { Database } from '../schema.js';

/** The object that gave an event. An imported file has no bucket. */
export interface EventObject {
  seq: string;
  objectID: string;
  sourceID: number;
  source: string;
  bucket: string;
  key: string;
  etag: string;
  versionID: string | null;
}

/**
 * Which objects gave these events of a cluster, by `events.seq`. Events that came by a webhook have none. One index probe
 * for each event: the parts of a cluster don't overlap.
 */
export async function findObjectsOfEvents(
  db: Kysely<Database>,
  clusterID: number,
  seqs: readonly string[],
): Promise<EventObject[]> {
  if (seqs.length === 0) return [];
  const { rows } = await sql<EventObject>`
    select e.seq, p.object_id as "objectID", o.source_id as "sourceID", s.name as source, o.bucket, o.key, o.etag,
           o.version_id as "versionID"
      from unnest(${[...new Set(seqs)]}::bigint[]) as e (seq)
      cross join lateral (
        select object_id, seq_to from source_object_parts
         where cluster_id = ${clusterID} and seq_from <= e.seq
         order by seq_from desc limit 1) p
      join source_objects o on o.cluster_id = ${clusterID} and o.id = p.object_id
      join sources s on s.id = o.source_id
     where p.seq_to > e.seq
     order by e.seq`.execute(db);
  return rows;
}
