import type { ClientBase } from 'pg';
import { encodeCursor, type Keyset } from './cursor.js';

/** A payload that was erased lawfully: one body of one event. */
export interface ErasedBody {
  cluster: string;
  /** The event that was asked for; equal bodies of other events were the same body. */
  eventID: string;
  /** SHA-256 of what was there, hex. */
  digest: string;
  /** RFC 3339. */
  erasedAt: string;
  erasedBy: string;
  reason: string;
}

/** Bodies that were erased within a time, the newest first, behind a place. Times are RFC 3339, half-open; left out: all. */
export async function findErasedBodies(
  client: Pick<ClientBase, 'query'>,
  { since, until }: { since: string | undefined; until: string | undefined },
  after: Keyset | undefined,
  limit: number,
): Promise<{ items: ErasedBody[]; next: string | null }> {
  const { rows } = await client.query<ErasedBody>(
    `select k.name as cluster, e.event_id as "eventID", encode(e.digest, 'hex') as digest, e.erased_at as "erasedAt",
            e.erased_by as "erasedBy", e.reason
       from erased_bodies e join clusters k on k.id = e.cluster_id
      where ($1::timestamptz is null or e.erased_at >= $1) and ($2::timestamptz is null or e.erased_at < $2)
        and ($3::timestamptz is null or (e.erased_at, encode(e.digest, 'hex')) < ($3, $4))
      order by e.erased_at desc, encode(e.digest, 'hex') desc limit $5`,
    [since, until, after?.at, after?.id, limit + 1],
  );
  const items = rows.slice(0, limit);
  const last = items.at(-1);
  return {
    items,
    next: rows.length > limit && last ? encodeCursor({ at: last.erasedAt, id: last.digest }) : null,
  };
}
