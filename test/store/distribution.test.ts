import type { Pool } from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../harness/database.js';
import { NOT_DISTRIBUTED, WITHOUT_CLUSTER } from './distributed.js';

/** What Citus asks of a table that is distributed by cluster_id, shown without it. explain.test.ts looks at the queries. */
let database: TestDatabase;
let pool: Pool;
beforeAll(async () => {
  database = await createTestDatabase();
  pool = database.pool;
});
afterAll(() => database.drop());

/** Tables with a cluster_id, partitions left out. */
const TABLES = `
  select c.oid, c.relname as name from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attname = 'cluster_id' and not a.attisdropped
   where c.relkind in ('r', 'p') and not c.relispartition and c.relnamespace = 'public'::regnamespace`;

it('the tables that grow with a cluster bear its id', async () => {
  const { rows } = await pool.query<{ name: string }>(TABLES);
  const names = rows.map((row) => row.name);
  expect(names).toEqual(
    expect.arrayContaining([
      'event_rows',
      'event_contexts',
      'changes',
      'bodies',
      'objects',
      'users',
      'attributions',
      'links',
      'verdicts',
    ]),
  );
  expect(names).toEqual(expect.arrayContaining([...NOT_DISTRIBUTED]));
  const all = await pool.query<{ name: string }>(
    `select relname as name from pg_class
      where relkind in ('r', 'p') and not relispartition and relnamespace = 'public'::regnamespace order by 1`,
  );
  const without = all.rows.map(({ name }) => name).filter((name) => !names.includes(name));
  expect(without.sort()).toEqual([...WITHOUT_CLUSTER].sort());
});

it('cluster_id never lacks, and every unique key of a distributed table holds it', async () => {
  const { rows } = await pool.query<{ name: string; key: string[] }>(`
    select t.name, array_agg(k.attname::text order by k.n) as key
      from (${TABLES}) t
      join pg_index x on x.indrelid = t.oid and x.indisunique
     cross join lateral (
       select p.n, a.attname from unnest(x.indkey) with ordinality p (num, n)
         join pg_attribute a on a.attrelid = t.oid and a.attnum = p.num) k
     group by t.name, x.indexrelid`);
  const wrong = rows.filter(
    ({ name, key }) => !NOT_DISTRIBUTED.includes(name) && !key.includes('cluster_id'),
  );
  expect(rows.length).toBeGreaterThan(20);
  expect(wrong).toEqual([]);
  const nullable = await pool.query(
    `select t.name from (${TABLES}) t join pg_attribute a on a.attrelid = t.oid and a.attname = 'cluster_id' and not a.attnotnull`,
  );
  expect(nullable.rows.filter(({ name }) => !NOT_DISTRIBUTED.includes(name))).toEqual([]);
});

it('no foreign key leads from or to a distributed table', async () => {
  const { rows } = await pool.query<{ name: string; definition: string }>(`
    select t.name, pg_get_constraintdef(f.oid) as definition
      from (${TABLES}) t join pg_constraint f on f.contype = 'f' and (f.conrelid = t.oid or f.confrelid = t.oid)`);
  expect(rows.filter(({ name }) => !NOT_DISTRIBUTED.includes(name))).toEqual([]);
});
