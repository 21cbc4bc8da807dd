import { afterAll, beforeAll, expect, it } from 'vitest';
import { newSecret } from '../../store/api-tokens.js';
import { createSource } from '../../store/sources.js';
import { Cluster, eventList } from '../harness/events.js';
import { startReceiver, type TestReceiver } from '../harness/receiver.js';

const BATCHES = 8;
const OBJECTS = 150;

let receiver: TestReceiver;
beforeAll(async () => {
  receiver = await startReceiver();
});
afterAll(() => receiver.stop());

const query = async (sql: string) => (await receiver.database.pool.query(sql)).rows;

/** Entries of the primary keys of `changes` that were read so far. */
async function entriesRead(): Promise<number> {
  await query('select pg_stat_force_next_flush()');
  const [row] = await query(
    `select sum(idx_tup_read)::int as entries from pg_stat_user_indexes
      where relname like 'changes_%' and indexrelname like '%pkey'`,
  );
  return row.entries;
}

it('looks versions up by object in a cluster that is new in a large ledger', async () => {
  const first = new Cluster();
  await receiver.post(eventList([first.deployment('create', 'known', { image: 'a:1' })]));
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
     select ${columns.map((name) => copied[name] ?? name).join(', ')} from changes, generate_series(1, 30000) n`,
  );
  await query('vacuum analyze changes');
  const { secret, sha256 } = newSecret('wcs');
  const client = await receiver.database.pool.connect();
  await createSource(client, { name: 'new-source', cluster: 'new', secretSha256: sha256 });
  client.release();

  const cluster = new Cluster();
  const before = await entriesRead();
  for (let batch = 0; batch < BATCHES; batch++) {
    const events = Array.from({ length: OBJECTS }, (_, i) =>
      cluster.deployment('create', `web-${batch}-${i}`, { image: 'a:1' }),
    );
    const answer = await receiver.post(
      eventList(events),
      { authorization: `Bearer ${secret}` },
      'new-source',
    );
    expect(answer).toMatchObject({ status: 200, body: { stored: OBJECTS } });
  }
  // Walking through all of the cluster's rows for each object would be half a million.
  expect((await entriesRead()) - before).toBeLessThan(BATCHES * OBJECTS * 10);
});
