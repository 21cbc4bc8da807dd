import { gzipSync } from 'node:zlib';
import { init as initZstd, compress as zstd } from '@bokuweb/zstd-wasm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster, eventList } from '../../harness/events.js';
import { startReceiver, type TestReceiver } from '../../harness/receiver.js';
import { addS3Source, startS3, type TestS3 } from '../../harness/s3.js';

const QUICK = { WHOCHANGED_S3_LIST_SECONDS: '1', WHOCHANGED_S3_LEASE_SECONDS: '5' };

let s3: TestS3;
let receiver: TestReceiver;
beforeAll(async () => {
  await initZstd();
  s3 = await startS3();
  receiver = await startReceiver(QUICK);
  receiver.ingest.s3.start();
});
afterAll(async () => {
  await receiver.stop();
  await s3.stop();
});

interface Row {
  key: string;
  state: string;
  attempts: number;
  events: string;
  stored: string;
  quarantined: string;
  error: { code: string; message: string } | null;
}

async function rows<T = Row>(sql: string, values: unknown[] = []): Promise<T[]> {
  return (await receiver.database.pool.query(sql, values)).rows as T[];
}

/** The ledger's rows of a source, once none waits. */
async function settled(sourceID: number, objects: number): Promise<Row[]> {
  const read = () =>
    rows(
      `select key, state, attempts, events, stored, quarantined, error from source_objects where source_id = $1 order by key, id`,
      [sourceID],
    );
  await expect
    .poll(
      async () => (await read()).filter((row) => !['new', 'leased', 'failed'].includes(row.state)).length,
      { timeout: 20_000, interval: 50 },
    )
    .toBe(objects);
  return read();
}

const lines = (events: unknown[]) => events.map((event) => `${JSON.stringify(event)}\n`).join('');

function deployments(count: number, prefix: string): Array<Record<string, unknown>> {
  const cluster = new Cluster();
  return Array.from({ length: count }, (_, i) =>
    cluster.deployment('create', `${prefix}-${i}`, { image: `web:${i}` }),
  );
}

describe('objects', () => {
  it('are read whatever they are packed in, and whatever their name says', async () => {
    const bucket = await s3.createBucket();
    const events = deployments(7, 'packed');
    const list = (i: number) => eventList([events[i]]);
    await s3.put(bucket, 'a/1.json', list(0));
    await s3.put(bucket, 'a/2.txt', gzipSync(list(1)));
    await s3.put(bucket, 'a/3.json', Buffer.from(zstd(Buffer.from(list(2)))));
    await s3.put(bucket, 'a/4', Buffer.concat([gzipSync(lines([events[3]])), gzipSync(lines([events[4]]))]));
    await s3.put(bucket, 'a/5.gz', gzipSync(gzipSync(lines([events[5]]))));
    await s3.put(bucket, 'a/6.gz', lines([events[6]]));
    await s3.put(bucket, 'a/7.gz', '');
    await s3.put(bucket, 'other/8', list(0));
    const source = await addS3Source(receiver.database, s3, { name: 'packed', bucket, prefix: 'a/' });
    await receiver.ingest.s3.poke();
    const settledRows = await settled(source, 7);
    expect(settledRows.map((row) => [row.key, row.state, row.events, row.stored])).toEqual([
      ['a/1.json', 'done', '1', '1'],
      ['a/2.txt', 'done', '1', '1'],
      ['a/3.json', 'done', '1', '1'],
      ['a/4', 'done', '2', '2'],
      ['a/5.gz', 'done', '1', '1'],
      ['a/6.gz', 'done', '1', '1'],
      ['a/7.gz', 'done', '0', '0'],
    ]);
    expect(
      await rows(
        `select count(*)::int as events, count(distinct digest)::int as distinct from events where source_id = $1`,
        [source],
      ),
    ).toEqual([{ events: 7, distinct: 7 }]);
  });
});
