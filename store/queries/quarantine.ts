import type { Kysely } from 'kysely';
import type { Database } from '../schema.js';
import { type Keyset, type Page, pageOf } from './cursor.js';

export interface QuarantineItem {
  id: string;
  source: string;
  source_id: number;
  cluster_id: number;
  received_at: string;
  reason: string;
  detail: string;
  sample: string;
  replayable: boolean;
  state: 'open' | 'replayed' | 'dismissed';
  state_at: string | null;
  seen: number;
}

function select(db: Kysely<Database>) {
  return db
    .selectFrom('quarantine as q')
    .innerJoin('sources as s', 's.id', 'q.source_id')
    .select([
      'q.id',
      's.name as source',
      'q.source_id',
      's.cluster_id',
      'q.received_at',
      'q.reason',
      'q.detail',
      'q.sample',
      'q.replayable',
      'q.state',
      'q.state_at',
      'q.seen',
    ]);
}

/** What could not be accepted, newest first. */
export async function findQuarantined(
  db: Kysely<Database>,
  filter: { state?: QuarantineItem['state']; source?: string },
  after: Keyset | undefined,
  limit: number,
): Promise<Page<QuarantineItem>> {
  let query = select(db);
  if (filter.state) query = query.where('q.state', '=', filter.state);
  if (filter.source) query = query.where('s.name', '=', filter.source);
  if (after) query = query.where('q.id', '<', after.id);
  const rows = await query
    .orderBy('q.id', 'desc')
    .limit(limit + 1)
    .execute();
  return pageOf(rows, limit, (row) => ({ at: row.received_at, id: row.id }));
}

export async function findQuarantinedOne(
  db: Kysely<Database>,
  id: string,
): Promise<QuarantineItem | undefined> {
  return select(db).where('q.id', '=', id).executeTakeFirst();
}

/** Notes what became of a rejected original. It stays for inspection. */
export async function settleQuarantined(
  db: Kysely<Database>,
  id: string,
  state: 'replayed' | 'dismissed',
): Promise<void> {
  await db
    .updateTable('quarantine')
    .set({ state, state_at: new Date().toISOString() })
    .where('id', '=', id)
    .execute();
}
