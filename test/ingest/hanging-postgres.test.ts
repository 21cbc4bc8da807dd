import { expect, it, onTestFinished } from 'vitest';
import { Cluster, eventList } from '../harness/events.js';
import { startReceiver } from '../harness/receiver.js';

const POSTS = 20;
/** An apiserver gives its webhook 30 s, and keeps what it has to send in memory meanwhile. */
const PATIENCE_MS = 20_000;

it('answers apiservers in time though Postgres hangs, the next ones at once, and has every event once when it goes on', async () => {
  const receiver = await startReceiver();
  onTestFinished(receiver.stop);
  const { pool } = receiver.database;
  const cluster = new Cluster();
  const post = async (name: string) => {
    const began = performance.now();
    const { status, body } = await receiver.post(
      eventList([cluster.deployment('create', name, { image: 'web:1' })]),
    );
    return { status, spooled: body.spooled, ms: performance.now() - began };
  };

  // It takes connections and statements, and none of them ends: as on a disk that hangs, or behind somebody's lock.
  const hanging = await pool.connect();
  await hanging.query('begin; lock table events in access exclusive mode');
  const first = await Promise.all(Array.from({ length: POSTS }, (_, n) => post(`first-${n}`)));
  for (const { status, spooled, ms } of first) {
    expect({ status, spooled }).toEqual({ status: 200, spooled: 1 });
    expect(ms).toBeLessThan(PATIENCE_MS);
  }
  for (let n = 0; n < POSTS; n++) {
    const { status, spooled, ms } = await post(`next-${n}`);
    expect({ status, spooled }).toEqual({ status: 200, spooled: 1 });
    expect(ms).toBeLessThan(2000);
  }

  await hanging.query('rollback');
  hanging.release();
  await expect.poll(() => receiver.ingest.spoolStatus().bytes, { timeout: 60_000 }).toBe(0);
  const { rows } = await pool.query<{ name: string; n: number }>(
    `select name, count(*)::int as n from changes group by name order by name`,
  );
  const names = Array.from({ length: POSTS }, (_, n) => [`first-${n}`, `next-${n}`])
    .flat()
    .sort();
  expect(rows.map((row) => row.name).sort()).toEqual(names);
  expect(rows.every(({ n }) => n === 1)).toBe(true);
}, 120_000);
