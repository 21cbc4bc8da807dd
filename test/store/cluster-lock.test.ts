import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { storeFailure } from '../../ingest/store-errors.js';
import { beginNumbered } from '../../store/cluster-lock.js';
import { createTestDatabase, type TestDatabase } from '../harness/database.js';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

describe('the lock of a cluster', () => {
  it('is taken from a writer that hangs in the midst of its transaction, whose batch is to be written again', async () => {
    const hanging = await database.pool.connect();
    hanging.on('error', () => undefined);
    const other = await database.pool.connect();
    const first = await beginNumbered(hanging, 1, 300);
    // It asks nothing any more, and keeps its connection.
    const second = await beginNumbered(other, 1);
    expect(second.firstSeq).toBeGreaterThan(first.firstSeq);
    await other.query('commit');
    const late = await hanging.query('select 1').catch((error: unknown) => error);
    expect(late).toBeInstanceOf(Error);
    expect(storeFailure(late)).toBe('unavailable');
    hanging.release(true);
    other.release();
  });

  it('leaves a writer alone that only takes its time in Postgres', async () => {
    const client = await database.pool.connect();
    await beginNumbered(client, 1, 100);
    await client.query('select pg_sleep(0.5)');
    await client.query('commit');
    client.release();
  });
});
