import { createHash } from 'node:crypto';
import { poolOf } from './filled-ledger.js';

const AUDIT_ID = /"auditID":"([^"]+)"/;
const STAGE = /"stage":"([^"]+)"/;

/**
 * What a multiset of events is known by: how many there are, and the sum of a digest of each one's auditID and stage. It is
 * another if any is lost, or is there twice, whatever else makes up for the number.
 */
export interface Multiset {
  events: number;
  sum: bigint;
}

/** Adds an event that is sent, as JSON text. */
export function add(to: Multiset, line: string): void {
  const name = `${AUDIT_ID.exec(line)![1]} ${STAGE.exec(line)![1]}`;
  to.events++;
  to.sum += BigInt(`0x${createHash('md5').update(name).digest('hex').slice(0, 15)}`);
}

/** The same of what lies in a data folder's embedded Postgres. */
export async function stored(folder: string): Promise<Multiset> {
  const pool = poolOf(folder);
  try {
    const { rows } = await pool.query<{ events: string; sum: string }>(
      `select count(*) as events,
              coalesce(sum(('x' || substr(md5(audit_id || ' ' || stage), 1, 15))::bit(60)::bigint), 0)::text as sum
         from events`,
    );
    return { events: Number(rows[0]!.events), sum: BigInt(rows[0]!.sum) };
  } finally {
    await pool.end();
  }
}
