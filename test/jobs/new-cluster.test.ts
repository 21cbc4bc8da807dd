import { pino } from 'pino';
import { Registry } from 'prom-client';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Traffic } from '../../bench/traffic.js';
import type { ObjectKey } from '../../core/identity.js';
import { attributeJob } from '../../jobs/attribute.js';
import { clusterStatisticsJob } from '../../jobs/cluster-statistics.js';
import { linksJob } from '../../jobs/links.js';
import { JobRunner } from '../../jobs/runner.js';
import { BUILT_IN_POLICY } from '../../main/policy-file.js';
import { newSecret } from '../../store/api-tokens.js';
import { createKysely } from '../../store/database.js';
import { findHistory } from '../../store/queries/objects.js';
import { createSource } from '../../store/sources.js';
import { startReceiver, type TestReceiver } from '../harness/receiver.js';

/** How many times the large cluster's changes are there, as those of other objects. */
const COPIES = 35;

let receiver: TestReceiver;
beforeAll(async () => {
  receiver = await startReceiver();
});
afterAll(() => receiver.stop());

const query = async (sql: string) => (await receiver.database.pool.query(sql)).rows;

/** Entries of all indexes that were read so far. */
async function entriesRead(): Promise<number> {
  await query('select pg_stat_force_next_flush()');
  const [row] = await query('select sum(idx_tup_read)::int as entries from pg_stat_user_indexes');
  return row.entries;
}

/** The first half of a session, which has most of its changes. */
async function post(session: number, token: string, source: string): Promise<void> {
  let left = 2400;
  for (const { body, events } of new Traffic({ lean: true }).batches([session])) {
    expect(await receiver.post(body, { authorization: `Bearer ${token}` }, source)).toMatchObject({
      status: 200,
    });
    left -= events;
    if (left <= 0) return;
  }
}

it('attributes and links changes of a cluster that is new in a large ledger by look-ups', async () => {
  const { pool } = receiver.database;
  await post(0, receiver.token, 'prod-a');
  const columns = (
    await query(
      `select quote_ident(attname) as name from pg_attribute where attrelid = 'changes'::regclass and attnum > 0 and not attisdropped`,
    )
  ).map(({ name }) => name as string);
  const copied: Record<string, string> = {
    change_id: 'gen_random_uuid()',
    object_id: 'gen_random_uuid()',
    at: `at + n * interval '1 second'`,
    seq: 'seq + 1000000 + n',
  };
  await query(
    `insert into changes (${columns.join(', ')})
     select ${columns.map((name) => copied[name] ?? name).join(', ')} from changes, generate_series(1, ${COPIES}) n`,
  );
  // Of the large cluster nothing is to be done.
  await query(
    `insert into job_cursors (job, cluster_id, seq)
     select j, c.id, (select max(seq) from changes) from clusters c, unnest('{attribute,links}'::text[]) j where c.name = 'prod'`,
  );
  await query('vacuum analyze');
  const { secret, sha256 } = newSecret('wcs');
  const client = await pool.connect();
  await createSource(client, { name: 'new-source', cluster: 'new', secretSha256: sha256 });
  client.release();
  for (const session of [1, 2, 3]) await post(session, secret, 'new-source');

  const runner = new JobRunner({
    pool,
    jobs: [attributeJob(), linksJob(async () => BUILT_IN_POLICY), clusterStatisticsJob()],
    log: pino({ level: 'silent' }),
    registry: new Registry(),
  });
  const before = await entriesRead();
  for (const job of ['attribute', 'links'])
    expect(await runner.run(job)).toMatchObject({ error: undefined, rows: expect.any(Number) });
  const read = (await entriesRead()) - before;
  const [{ changes, attributed, linked }] = (await query(
    `select (select count(*)::int from changes where cluster_id = c.id) as changes,
            (select count(*)::int from attributions where cluster_id = c.id) as attributed,
            (select count(*)::int from current_verdicts where cluster_id = c.id) as linked
       from clusters c where name = 'new'`,
  )) as [{ changes: number; attributed: number; linked: number }];
  expect(attributed).toBeGreaterThan(200);
  expect(linked).toBeGreaterThan(200);
  // Where each look-up walks through the cluster's rows it is hundreds for each change.
  expect(read).toBeLessThan(changes * 60);

  // What people ask is planned for the cluster that they ask about.
  const [{ id }] = (await query("select id from clusters where name = 'new'")) as [{ id: number }];
  const db = createKysely(pool);
  const [seldom] = (await query(
    `select o.api_group as "apiGroup", o.resource, o.namespace, o.name from objects o
      where cluster_id = ${id} and 1 = (select count(*) from changes where cluster_id = ${id} and object_id = o.id)
      order by o.id limit 1`,
  )) as [ObjectKey];
  const ask = async () => {
    const start = await entriesRead();
    const { items } = await findHistory(db, id, seldom, undefined, undefined, 50);
    return { found: items.length, read: (await entriesRead()) - start };
  };
  const unknown = await ask();
  for (const rows of [1, 0])
    expect(await runner.run('cluster-statistics')).toMatchObject({ error: undefined, rows });
  const known = await ask();
  expect([unknown.found, known.found]).toEqual([1, 1]);
  expect(known.read).toBeLessThan(100);
});
