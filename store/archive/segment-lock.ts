import type { ClientBase } from 'pg';

const SEGMENT_LOCK = 7_231_010;

/**
 * Does some work with a segment while nobody else, in any process, loads or drops it. Undefined where somebody is at it.
 * The lock ends with the connection, so that work which broke off can be taken over.
 */
export async function withSegment<T>(
  client: ClientBase,
  segmentID: string,
  work: () => Promise<T>,
): Promise<T | undefined> {
  const key = Number(BigInt(segmentID) % 2_147_483_647n);
  const { rows } = await client.query<{ mine: boolean }>('select pg_try_advisory_lock($1, $2) as mine', [
    SEGMENT_LOCK,
    key,
  ]);
  if (!rows[0]!.mine) return undefined;
  try {
    return await work();
  } finally {
    await client.query('select pg_advisory_unlock($1, $2)', [SEGMENT_LOCK, key]);
  }
}
