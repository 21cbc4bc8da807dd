import type { ClientBase, Pool } from 'pg';
import { WhochangedError } from '../core/errors.js';
import { ERASED_DIGESTS } from '../core/retention/erased.js';
import { HELD_EVENT } from './archive/due-rows.js';
import { removeBodies } from './body-rows.js';
import { lockCluster } from './cluster-lock.js';
import { EVENT_JOINS_SQL, type EventRow } from './queries/events.js';
import { inTransaction } from './transaction.js';

type Queryable = Pick<ClientBase, 'query'>;

/** Which of an event's two bodies. */
export const PAYLOAD_PARTS = ['request', 'response'] as const;
export type PayloadPart = (typeof PAYLOAD_PARTS)[number];

/** What stands in the place of a summary that told of the payload. */
export const ERASED_SUMMARY = 'payload erased';

/**
 * Digests of the event's bodies of these parts, and of the states that were made of them.
 * @throws WhochangedError `not_found` where there is none
 */
export async function findErasable(
  client: Queryable,
  event: EventRow,
  parts: readonly PayloadPart[],
): Promise<Buffer[]> {
  const own = parts.flatMap((part) => event[`${part}_digest`] ?? []);
  const states = await client.query<{ digest: Buffer }>(
    `select distinct after_digest as digest from changes
      where cluster_id = $1 and at = $2 and event_digest = $3 and source_id = $4 and after_digest is not null`,
    [event.cluster_id, event.at, event.digest, event.source_id],
  );
  if (own.length === 0)
    throw new WhochangedError('not_found', `the event has no ${parts.join(' or ')} body`, {
      hint: 'events of level Metadata never had one',
    });
  return [...own, ...states.rows.map((row) => row.digest)];
}

/** Why what a hold covers stays. */
export function isHeld(): WhochangedError {
  return new WhochangedError('conflict', 'a legal hold covers it', {
    hint: '`whochanged hold list` tells which; an admin may release it',
  });
}

export interface Erasure {
  /** Digests of the bodies that are gone, those of the states that were made of them among them. */
  digests: Buffer[];
  /** Changes whose diffs, labels and summaries told of them. */
  changes: number;
}

/**
 * Erases bodies of an event, and the state after it, from the database: their content, and what changes tell of it. Equal
 * bodies of other events are the same body. The event itself, its digests and its place in the proof log stay.
 * @throws WhochangedError `conflict` where a legal hold covers an event that has the body, `not_found` where there is none
 */
export async function eraseBodies(
  pool: Pool,
  event: EventRow,
  parts: readonly PayloadPart[],
  by: string,
  reason: string,
): Promise<Erasure> {
  const clusterID = event.cluster_id;
  return inTransaction(pool, async (client) => {
    await lockCluster(client, clusterID);
    const digests = await findErasable(client, event, parts);
    const held = await client.query(
      `select from events e ${EVENT_JOINS_SQL}
        where e.cluster_id = $1 and (e.request_digest = any($2::bytea[]) or e.response_digest = any($2::bytea[])) and ${HELD_EVENT}
        limit 1`,
      [clusterID, digests],
    );
    if (held.rowCount !== 0) throw isHeld();
    await client.query(
      `insert into erased_bodies (cluster_id, digest, event_id, erased_by, reason)
       select $1, d, $3, $4, $5 from unnest($2::bytea[]) as d on conflict do nothing`,
      [clusterID, digests, event.event_id, by, reason],
    );
    await removeBodies(client, clusterID, digests);
    const changes = await client.query(
      `update changes set diff = null, field_terms = null, labels = null, inferred = null, summary = $3
        where cluster_id = $1 and (request_digest = any($2::bytea[]) or response_digest = any($2::bytea[])
                                   or before_digest = any($2::bytea[]) or after_digest = any($2::bytea[]))`,
      [clusterID, digests, ERASED_SUMMARY],
    );
    // Writers hold bodies in memory.
    await client.query('update clusters set bodies_epoch = bodies_epoch + 1 where id = $1', [clusterID]);
    return { digests, changes: changes.rowCount ?? 0 };
  });
}

export interface ErasedPart {
  part: PayloadPart;
  /** SHA-256 of what was there, hex. */
  digest: string;
  erasedAt: string;
}

/** Which of an event's bodies were erased. A body that isn't there and isn't among them was removed otherwise. */
export async function findErasedParts(client: Queryable, event: EventRow): Promise<ErasedPart[]> {
  const digests = [event.request_digest, event.response_digest].filter((digest) => digest !== null);
  if (digests.length === 0) return [];
  const { rows } = await client.query<{ digest: Buffer; erased_at: string }>(
    'select digest, erased_at from erased_bodies where cluster_id = $1 and digest = any($2::bytea[])',
    [event.cluster_id, digests],
  );
  return PAYLOAD_PARTS.flatMap((part) => {
    const row = rows.find(({ digest }) => event[`${part}_digest`]?.equals(digest));
    return row ? [{ part, digest: row.digest.toString('hex'), erasedAt: row.erased_at }] : [];
  });
}

/** An event's record, with the digests of bodies that were erased: whoever checks its proof needs them. */
export function withErased(record: object, erased: readonly ErasedPart[]): object {
  if (erased.length === 0) return record;
  return {
    ...record,
    [ERASED_DIGESTS]: Object.fromEntries(erased.map(({ part, digest }) => [`${part}Object`, digest])),
  };
}
