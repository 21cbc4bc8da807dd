import { inject, it, onTestFinished } from 'vitest';
import { createPool } from '../../../store/database.js';
import { onDatabase } from '../../harness/database.js';
import { Cluster, eventList } from '../../harness/events.js';
import { startReceiver } from '../../harness/receiver.js';

const SPOOL_BYTES = 1024 * 1024;

it('takes what the spool has room for while Postgres is away, says 503 and when to come again, and drains in order', async ({
  expect,
}) => {
  const receiver = await startReceiver({ WHOCHANGED_SPOOL_MAX_BYTES: String(SPOOL_BYTES) });
  onTestFinished(receiver.stop);
  const admin = createPool({
    ...onDatabase(inject('postgres'), 'postgres'),
    poolSize: 1,
    applicationName: 'test-admin',
  });
  onTestFinished(() => admin.end());
  const name = (await receiver.database.pool.query('select current_database() as name')).rows[0].name;
  const cluster = new Cluster();
  const filler = 'x'.repeat(40_000);
  const post = (n: number) =>
    receiver.server.inject({
      method: 'POST',
      url: '/ingest/v1/audit/prod-a?timeout=30s',
      headers: { authorization: `Bearer ${receiver.token}` },
      payload: bodies[n]!,
    });
  const bodies = Array.from({ length: 40 }, (_, n) =>
    eventList([
      cluster.write(
        'create',
        { resource: 'configmaps', namespace: 'shop', name: `kept-${n}` },
        { kind: 'ConfigMap', data: { filler } },
      ),
    ]),
  );

  receiver.database.pool.on('error', () => undefined);
  await admin.query(`alter database ${name} allow_connections false`);
  onTestFinished(async () => void (await admin.query(`alter database ${name} allow_connections true`)));
  await admin.query('select pg_terminate_backend(pid) from pg_stat_activity where datname = $1', [name]);
  const spooled: number[] = [];
  const refused: number[] = [];
  for (const n of bodies.keys()) {
    const answer = await post(n);
    if (answer.statusCode === 200) {
      expect(answer.json()).toMatchObject({ events: 1, spooled: 1 });
      spooled.push(n);
      continue;
    }
    expect(answer.statusCode).toBe(503);
    expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
    expect(answer.json()).toMatchObject({ code: 'overloaded', detail: expect.stringContaining('spool') });
    refused.push(n);
  }
  expect(spooled.length).toBeGreaterThan(5);
  expect(refused.length).toBeGreaterThan(5);
  expect(receiver.ingest.spoolStatus().bytes).toBeLessThanOrEqual(SPOOL_BYTES);

  await admin.query(`alter database ${name} allow_connections true`);
  await expect.poll(() => receiver.ingest.spoolStatus().bytes, { timeout: 30_000 }).toBe(0);
  const stored = async () =>
    (
      await receiver.database.pool.query<{ name: string }>(
        `select name from changes where name like 'kept-%' order by seq`,
      )
    ).rows.map((row) => row.name);
  expect(await stored()).toEqual(spooled.map((n) => `kept-${n}`));
  // As the apiserver does, which was told to come again.
  for (const n of refused) expect((await post(n)).json()).toMatchObject({ stored: 1 });
  expect(await stored()).toEqual([...spooled, ...refused].map((n) => `kept-${n}`));
});
