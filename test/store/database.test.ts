import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { createKysely, createPool } from '../../store/database.js';
import { createTestDatabase, type TestDatabase } from '../harness/database.js';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

async function value(expression: string): Promise<unknown> {
  return (await database.pool.query(`select ${expression} as value`)).rows[0].value;
}

describe('values from Postgres', () => {
  it.each([
    ["'2026-01-02 03:04:05.000006+00'::timestamptz", '2026-01-02T03:04:05.000006Z'],
    ["'2026-01-02 03:04:05.999999+05:30'::timestamptz", '2026-01-01T21:34:05.999999Z'],
    ["'2026-01-02'::timestamptz", '2026-01-02T00:00:00.000000Z'],
    ["'infinity'::timestamptz", 'infinity'],
    ["array['2026-01-02 03:04:05.123456+00'::timestamptz, null]", ['2026-01-02T03:04:05.123456Z', null]],
    ["'2026-01-02'::date", '2026-01-02'],
    ["'2026-01-02 03:04:05.5'::timestamp", '2026-01-02 03:04:05.5'],
    ['9007199254740993::bigint', '9007199254740993'],
    ['null::timestamptz', null],
    ['\'{"a": [1]}\'::jsonb', { a: [1] }],
  ])('%s', async (expression, expected) => {
    expect(await value(expression)).toEqual(expected);
  });

  it('keep their microseconds also where the session has another zone', async () => {
    const client = await database.pool.connect();
    onTestFinished(() => client.release(true));
    await client.query("set timezone = 'Asia/Kolkata'");
    const { rows } = await client.query("select '2026-01-02 03:04:05.000006+00'::timestamptz as at");
    expect(rows).toEqual([{ at: '2026-01-02T03:04:05.000006Z' }]);
  });

  it('come through Kysely alike', async () => {
    const { rows } =
      await sql`select '2026-01-02 03:04:05.000006+00'::timestamptz as at, 1::bigint as n`.execute(
        createKysely(database.pool),
      );
    expect(rows).toEqual([{ at: '2026-01-02T03:04:05.000006Z', n: '1' }]);
  });
});

describe('a pool', () => {
  it('ends with its connections, so that a Postgres that is stopped after it has none to break off', async () => {
    const pool = createPool({ ...database.options, poolSize: 4, applicationName: 'ending' });
    let open = 0;
    pool.on('connect', (client) => {
      open++;
      client.once('end', () => open--);
    });
    const clients = await Promise.all([1, 2, 3, 4].map(() => pool.connect()));
    expect(open).toBe(4);
    // One that is given up right before still closes, though the pool counts it no more.
    clients.forEach((client, i) => {
      client.release(i === 0);
    });
    await pool.end();
    expect(open).toBe(0);
  });

  it('survives the loss of connections, idle and checked out', async () => {
    const pool = createPool({ ...database.options, poolSize: 2, applicationName: 'victim' });
    onTestFinished(() => pool.end());
    const held = await pool.connect();
    await pool.query('select 1');
    await database.pool.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'victim'",
    );
    await expect(held.query('select 1')).rejects.toThrow();
    held.release(true);
    await expect.poll(() => pool.idleCount).toBe(0);
    expect((await pool.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
  });

  it('ends statements that take longer than they may', async () => {
    const pool = createPool({ ...database.options, poolSize: 1, statementTimeoutMs: 50 });
    onTestFinished(() => pool.end());
    await expect(pool.query('select pg_sleep(5)')).rejects.toMatchObject({ code: '57014' });
  });
});
