import type { Kysely } from 'kysely';
import type { Database } from '../schema.js';
import { type Keyset, type Page, pageOf } from './cursor.js';

export interface FindingItem {
  id: string;
  cluster: string;
  kind: string;
  at: string;
  found_at: string;
  subject: string;
  detail: unknown;
}

/** Findings of all clusters, newest first. */
export async function findFindings(
  db: Kysely<Database>,
  after: Keyset | undefined,
  limit: number,
): Promise<Page<FindingItem>> {
  let query = db
    .selectFrom('findings as f')
    .innerJoin('clusters as k', 'k.id', 'f.cluster_id')
    .select(['f.id', 'k.name as cluster', 'f.kind', 'f.at', 'f.found_at', 'f.subject', 'f.detail']);
  if (after) query = query.where('f.id', '<', after.id);
  const rows = await query
    .orderBy('f.id', 'desc')
    .limit(limit + 1)
    .execute();
  return pageOf(rows, limit, (row) => ({ at: row.at, id: row.id }));
}
