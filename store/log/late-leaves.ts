import type { ClientBase } from 'pg';
import type { AccessEventTable } from '../schema.js';
import { loggedAccessEvents, loggedVerdicts } from './logged-rows.js';
import { appendPending, type PendingRecord } from './pending.js';
import { VERDICT_RECORD_COLUMNS, type VerdictRecordRow } from './verdict-records.js';
import type { LoggedRow } from './verify-records.js';

const ROWS_AT_ONCE = 2000;

/** Numbers of one kind and cluster whose records were stored before they had leaves (migrations/029-late-leaves.sql). */
interface LateNumbers {
  type: 'verdict' | 'access';
  cluster_id: number;
  next_seq: string;
  before_seq: string;
}

/**
 * Hands some of the records that were stored before their kind had leaves to the sequencer, with `now` as the time at
 * which their leaves are made: what they were before that, the log can't prove, and the leaves say so. In one transaction
 * with what is remembered of it. Returns how many rows were looked at; 0 when nothing is left to do.
 */
export async function appendLateLeaves(client: ClientBase, now: Date): Promise<number> {
  await client.query('begin');
  try {
    const { rows } = await client.query<LateNumbers>(
      'select type, cluster_id, next_seq, before_seq from log_late order by type, cluster_id limit 1 for update',
    );
    const late = rows[0];
    let looked = 0;
    if (late) {
      const found = await findUnlogged(client, late);
      looked = found.length;
      for (const run of consecutive(found))
        await appendPending(client, late.type, late.cluster_id, run[0]!.seq, run.map(pendingRecord), now);
      if (looked < ROWS_AT_ONCE)
        await client.query('delete from log_late where type = $1 and cluster_id = $2', [
          late.type,
          late.cluster_id,
        ]);
      else
        await client.query('update log_late set next_seq = $3 where type = $1 and cluster_id = $2', [
          late.type,
          late.cluster_id,
          found.at(-1)!.seq + 1,
        ]);
    }
    await client.query('commit');
    return late ? Math.max(1, looked) : 0;
  } catch (error) {
    await client.query('rollback').catch(() => undefined);
    throw error;
  }
}

/** Those that have no leaf: one that was being written while the database was migrated has handed in its own. */
async function findUnlogged(client: ClientBase, late: LateNumbers): Promise<LoggedRow[]> {
  const { type, cluster_id, next_seq, before_seq } = late;
  const numbered = (table: string, seq: string, columns: string, ofCluster: string) => `
    select ${columns} from ${table}
     where ${ofCluster} and ${seq} >= $3 and ${seq} < $4
       and not exists (
         select from (select first_seq, count from log_runs where type = $1 and cluster_id = $2 and first_seq < $4
                         and first_seq + count > $3
                      union all
                      select first_seq, octet_length(records) / 44 from log_pending where type = $1 and cluster_id = $2
                        ) k (first_seq, count) where k.first_seq <= ${seq} and k.first_seq + k.count > ${seq})
     order by ${seq} limit ${ROWS_AT_ONCE}`;
  const values = [type, cluster_id, next_seq, before_seq];
  if (type === 'verdict') {
    const { rows } = await client.query<VerdictRecordRow>(
      numbered('verdicts', 'id', VERDICT_RECORD_COLUMNS, 'cluster_id = $2'),
      values,
    );
    return rows.map(loggedVerdicts({ id: cluster_id, name: '' }).read);
  }
  const { rows } = await client.query<AccessEventTable>(
    numbered('access_events', 'seq', '*', '$2 = 0'),
    values,
  );
  return rows.map(loggedAccessEvents().read);
}

function pendingRecord({ at, digest }: LoggedRow): PendingRecord {
  return { originID: 0, at, digest };
}

/** Rows in the order of their numbers, cut where numbers are missing. */
function consecutive(rows: readonly LoggedRow[]): LoggedRow[][] {
  const runs: LoggedRow[][] = [];
  for (const row of rows) {
    const last = runs.at(-1);
    if (last && last.at(-1)!.seq + 1 === row.seq) last.push(row);
    else runs.push([row]);
  }
  return runs;
}
