import type { Pool } from 'pg';
import Cursor from 'pg-cursor';
import type { Traffic } from '../traffic.js';

const PAGE = 10_000;

export interface Judgement {
  /** Events that were generated. */
  generated: number;
  lost: number;
  twice: number;
  /** In the ledger, and nobody generated them. */
  strange: number;
  quarantined: number;
}

/**
 * Compares a cluster's events in the ledger with what was generated, one by one. The generator says the same for the same
 * number, so its sessions are made again here; nothing that was sent is remembered.
 */
export async function judge(
  pool: Pool,
  traffic: Traffic,
  cluster: string,
  sessions: readonly number[],
): Promise<Judgement> {
  const stored = new Map<string, number>();
  const client = await pool.connect();
  try {
    const cursor = client.query(
      new Cursor<{ key: string }>(
        `select e.audit_id || ' ' || e.stage || ' ' || extract(epoch from e.at) as key from events e
           join clusters c on c.id = e.cluster_id where c.name = $1`,
        [cluster],
      ),
    );
    for (let rows = await cursor.read(PAGE); rows.length > 0; rows = await cursor.read(PAGE))
      for (const { key } of rows) stored.set(key, (stored.get(key) ?? 0) + 1);
    await cursor.close();
  } finally {
    client.release();
  }
  const expected = new Map<string, number>();
  let generated = 0;
  for (const session of sessions)
    for (const line of traffic.session(session)) {
      const key = keyOf(line);
      expected.set(key, (expected.get(key) ?? 0) + 1);
      generated++;
    }
  let lost = 0;
  let twice = 0;
  let strange = 0;
  for (const [key, times] of expected) {
    const found = stored.get(key) ?? 0;
    if (found < times) lost += times - found;
    else twice += found - times;
  }
  for (const [key, times] of stored) if (!expected.has(key)) strange += times;
  const { rows } = await pool.query<{ n: number }>('select count(*)::int as n from quarantine');
  return { generated, lost, twice, strange, quarantined: rows[0]!.n };
}

function keyOf(line: string): string {
  const { auditID, stage, requestReceivedTimestamp } = JSON.parse(line) as Record<string, string>;
  const [, second, fraction = '0'] = /^(.*?)(?:\.(\d+))?Z$/.exec(requestReceivedTimestamp!)!;
  return `${auditID} ${stage} ${Date.parse(`${second}Z`) / 1000}.${fraction.padEnd(6, '0')}`;
}
