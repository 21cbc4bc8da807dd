import { pino } from 'pino';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Traffic } from '../../bench/traffic.js';
import { compactMonthsJob } from '../../jobs/compact-months.js';
import { findPartitionsToCompact } from '../../store/compaction.js';
import { withClient } from '../harness/database.js';
import { startReceiver, type TestReceiver } from '../harness/receiver.js';

/** The month of the recorded session, and the first moment at which it is over for long enough. */
const MONTH = '2026_11';
const OVER = new Date('2026-12-08T00:00:00Z');

let receiver: TestReceiver;
beforeAll(async () => {
  receiver = await startReceiver();
  const batches = [...new Traffic().batches([0])];
  // In turns: no index gets its entries in order.
  for (const { body } of batches.map((_, i) => batches[(i * 7) % batches.length]!))
    expect((await receiver.post(body)).status).toBe(200);
});
afterAll(() => receiver.stop());

const query = async (sql: string) => (await receiver.database.pool.query(sql)).rows;
const unready = () => query('select indexrelid::regclass::text as name from pg_index where not indisvalid');
async function indexBytes(): Promise<number> {
  const [row] = await query(
    `select sum(pg_indexes_size(oid))::float8 as bytes from pg_class where relname in ('event_rows_${MONTH}', 'changes_${MONTH}')`,
  );
  return row.bytes;
}

const run = (now: Date, signal = new AbortController().signal) =>
  withClient(receiver.database.pool, (client) =>
    compactMonthsJob().runOnce({ client, now: () => now, log: pino({ level: 'silent' }), signal }),
  );

it('waits for a month to be over for a week', async () => {
  const due = (now: Date) =>
    withClient(receiver.database.pool, (client) => findPartitionsToCompact(client, now.toISOString()));
  expect(await due(new Date(OVER.getTime() - 1))).toEqual([]);
  expect(await due(OVER)).toEqual([`changes_${MONTH}`, `event_rows_${MONTH}`]);
});

it('leaves off between two indexes when it is to stop', async () => {
  expect(await run(OVER, AbortSignal.abort())).toEqual({ rows: 0 });
});

it('builds indexes anew, once, and clears away what broke off before', async () => {
  const [told, before] = [await query('select * from events order by seq'), await indexBytes()];
  await query(`create index left_ccnew on event_rows_${MONTH} (seq)`);
  await query(`update pg_index set indisvalid = false where indexrelid = 'left_ccnew'::regclass`);
  expect(await run(OVER)).toEqual({ rows: 2 });
  expect(await indexBytes()).toBeLessThan(before * 0.9);
  expect(await unready()).toEqual([]);
  expect(await query('select * from events order by seq')).toEqual(told);
  expect(await run(OVER)).toEqual({ rows: 0 });
});
