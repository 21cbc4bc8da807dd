import type { Pool } from 'pg';
import type { VerifierKey } from '../../core/log/note.js';
import { createKysely } from '../database.js';
import { verifyEvents } from './verify-records.js';
import { verifyTree } from './verify-tree.js';

export interface LedgerVerdict {
  problems: number;
  /** Records that were compared with their leaves. */
  records: number;
  /** Leaves of the log. */
  size: number;
  /** Leaves under a checkpoint that holds. */
  provenSize: number;
  /** Records that have no place yet. */
  waiting: number;
}

/**
 * Checks the whole ledger: the tree against signed checkpoints, then every record against its leaf. `tell` is given
 * each problem as it is found, and `progress` how far it is.
 */
export async function verifyLedger(
  pool: Pool,
  keys: readonly VerifierKey[],
  copies: readonly string[],
  tell: (problem: string) => void,
  progress: (records: number) => void,
): Promise<LedgerVerdict> {
  let problems = 0;
  const say = (problem: string) => {
    problems++;
    tell(problem);
  };
  const client = await pool.connect();
  let waiting: number;
  let size: number;
  let provenSize: number;
  try {
    const pending = await client.query<{ count: string }>(
      'select coalesce(sum(octet_length(records) / 44), 0) as count from log_pending',
    );
    waiting = Number(pending.rows[0]!.count);
    const tree = await verifyTree(client, keys, copies);
    ({ size, provenSize } = tree);
    for (const problem of tree.problems) say(problem);
  } finally {
    client.release();
  }
  const db = createKysely(pool);
  const clusters = await pool.query<{ id: number; name: string }>(
    'select id, name from clusters order by id',
  );
  let records = 0;
  for (const cluster of clusters.rows) {
    const before = records;
    const counted = (count: number) => {
      records = before + count;
      progress(records);
    };
    for await (const { kind, type, seq, index, detail } of verifyEvents(pool, db, cluster, counted))
      say(
        `${kind}: ${type} ${seq} of ${cluster.name}${index === undefined ? '' : `, place ${index}`}: ${detail}`,
      );
  }
  return { problems, records, size, provenSize, waiting };
}
