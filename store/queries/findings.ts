import { type Kysely, sql } from 'kysely';
import type { Database } from '../schema.js';
import { type Keyset, type Page, pageOf } from './cursor.js';

export interface FindingItem {
  id: string;
  /** Of a cluster's evidence, or of a repository's. */
  cluster: string | null;
  repo: string | null;
  kind: string;
  at: string;
  found_at: string;
  subject: string;
  detail: unknown;
}

/** Findings of all clusters and repositories, newest first. They are numbered together. */
export async function findFindings(
  db: Kysely<Database>,
  after: Keyset | undefined,
  limit: number,
): Promise<Page<FindingItem>> {
  const before = after ? sql`and f.id < ${after.id}` : sql``;
  const { rows } = await sql<FindingItem>`
    (select f.id, k.name as cluster, null as repo, f.kind, f.at, f.found_at, f.subject, f.detail
       from findings f join clusters k on k.id = f.cluster_id where true ${before}
      order by f.id desc limit ${limit + 1})
    union all
    (select f.id, null, r.name, f.kind, f.at, f.found_at, f.subject, f.detail
       from repo_findings f join repos r on r.id = f.repo_id where true ${before}
      order by f.id desc limit ${limit + 1})
    order by id desc limit ${limit + 1}`.execute(db);
  return pageOf(rows, limit, (row) => ({ at: row.at, id: row.id }));
}
