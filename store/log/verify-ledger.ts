import type { Pool } from 'pg';
import type { LedgerVerdict } from '../../core/log/ledger-verdict.js';
import type { VerifierKey } from '../../core/log/note.js';
import { formatMicros } from '../../core/timestamp.js';
import type { ArchiveReader } from '../archive/files.js';
import { createKysely } from '../database.js';
import { loggedAccessEvents, loggedEvents, loggedVerdicts } from './logged-rows.js';
import { type AnswerCounts, verifyAnswers } from './verify-answers.js';
import { ArchivedEvents } from './verify-archived.js';
import { type Damage, type LoggedRows, verifyRecords } from './verify-records.js';
import { verifyTree } from './verify-tree.js';

/**
 * Checks the whole ledger: the tree against signed checkpoints, every record against its leaf, then what answers are read
 * from (bodies, changes, verdicts in force) against these records. `tell` is given
 * each problem as it is found, and `progress` how far it is. Events that were archived are read from there; without an
 * archive they count as unchecked.
 */
export async function verifyLedger(
  pool: Pool,
  keys: readonly VerifierKey[],
  copies: readonly string[],
  tell: (problem: string) => void,
  progress: (records: number) => void,
  archive?: ArchiveReader,
): Promise<LedgerVerdict> {
  let problems = 0;
  const say = (problem: string) => {
    problems++;
    tell(problem);
  };
  const sayDamage = ({ kind, type, cluster, seq, index, detail }: Damage) => {
    const where = cluster === '' ? '' : ` of ${cluster}`;
    say(`${kind}: ${type} ${seq}${where}${index === undefined ? '' : `, place ${index}`}: ${detail}`);
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
  const records: LedgerVerdict['records'] = { event: 0, verdict: 0, access: 0 };
  let done = 0;
  const late = { records: 0, lastAt: 0 };
  const tellLate = (madeAt: number) => {
    late.records++;
    late.lastAt = Math.max(late.lastAt, madeAt);
  };
  async function check<Row>(logged: LoggedRows<Row>, archived?: ArchivedEvents): Promise<void> {
    const before = records[logged.type];
    const start = done;
    const counted = (count: number) => {
      records[logged.type] = before + count;
      done = start + count;
      progress(done);
    };
    for await (const found of verifyRecords(pool, db, logged, counted, tellLate))
      if (!archived?.claim(found)) sayDamage(found);
  }
  const answers: AnswerCounts = { bodies: 0, changes: 0 };
  let archivedEvents = 0;
  let unchecked = 0;
  for (const cluster of clusters.rows) {
    const archived = new ArchivedEvents(pool, cluster, archive);
    await check(loggedEvents(cluster), archived);
    for await (const found of archived.verify()) sayDamage(found);
    archivedEvents += archived.checked;
    unchecked += archived.unchecked;
    await check(loggedVerdicts(cluster));
    for await (const { kind, what, cluster: of, id, detail } of verifyAnswers(
      pool,
      db,
      cluster,
      answers,
      () => progress(done + answers.bodies),
    ))
      say(`${kind}: ${what} ${id} of ${of}: ${detail}`);
  }
  await check(loggedAccessEvents());
  const lateLeaves = late.records;
  const lateLeavesAt = lateLeaves > 0 ? formatMicros(late.lastAt) : null;
  return {
    problems,
    records,
    ...answers,
    lateLeaves,
    lateLeavesAt,
    archivedEvents,
    unchecked,
    size,
    provenSize,
    waiting,
  };
}
