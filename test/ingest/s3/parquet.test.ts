import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { asParquet } from '../../harness/parquet.js';
import { startReceiver, type TestReceiver } from '../../harness/receiver.js';
import { addS3Source, startS3, type TestS3 } from '../../harness/s3.js';
import { QUICK, settled } from '../../harness/s3-ledger.js';
import { type S3Proxy, startS3Proxy } from '../../harness/s3-proxy.js';
import { ENVELOPES } from '../formats/envelopes.js';

let s3: TestS3;
let proxy: S3Proxy;
let receiver: TestReceiver;
beforeAll(async () => {
  s3 = await startS3();
  proxy = await startS3Proxy(s3.endpoint);
  receiver = await startReceiver(QUICK);
  receiver.ingest.s3.start();
});
afterAll(async () => {
  await receiver.stop();
  await proxy.stop();
  await s3.stop();
});

const sample = () => readFile(join(ENVELOPES, 'ocsf/security-lake-1.1.ndjson'), 'utf8');

async function read(name: string, body: Buffer | string, key = 'eventDay=20260302/x') {
  const bucket = await s3.createBucket();
  await s3.put(bucket, key, body);
  const source = await addS3Source(receiver.database, proxy, { name, bucket });
  await receiver.ingest.s3.poke();
  const [object] = await settled(receiver, source, 1);
  const { rows } = await receiver.database.pool.query<{ digest: string }>(
    `select encode(digest, 'hex') as digest from events where source_id = $1 order by 1`,
    [source],
  );
  return { object: object!, digests: rows.map(({ digest }) => digest), bucket };
}

describe('Parquet, as Security Lake stores OCSF', () => {
  it.each(['zstd', 'snappy', 'gzip', 'uncompressed'])(
    'in %s gives the events of its JSON form',
    async (packed) => {
      const ndjson = await sample();
      const json = await read(`json-${packed}`, ndjson);
      const parquet = await read(`parquet-${packed}`, await asParquet(ndjson, packed));
      expect(json.digests.length).toBeGreaterThan(0);
      expect(parquet.digests).toEqual(json.digests);
      const counts = ({ state, events, skipped, quarantined, error }: typeof json.object) => ({
        state,
        events,
        skipped,
        quarantined,
        error,
      });
      expect(counts(parquet.object)).toEqual(counts(json.object));
    },
  );

  it('is read a row group at a time, each with one request', async () => {
    const record = (await sample()).split('\n').find((line) => line.includes('"Amazon EKS"'))!;
    const uid = (JSON.parse(record) as { api: { request: { uid: string } } }).api.request.uid;
    const ndjson = Array.from({ length: 2100 }, (_, i) =>
      record.replaceAll(uid, `${uid.slice(0, -4)}${1000 + i}`),
    );
    const { object, digests, bucket } = await read('groups', await asParquet(ndjson.join('\n'), 'zstd'));
    expect(object).toMatchObject({ state: 'done', attempts: 1, events: '2100', quarantined: '0' });
    expect(new Set(digests).size).toBe(2100);
    const ranges = proxy.requests.filter(
      (request) => request.bucket === bucket && request.range !== undefined,
    );
    // The end, and two groups.
    expect(ranges).toHaveLength(3);
  });

  it('that is cut off is told, and not read again and again', async () => {
    const whole = await asParquet(await sample(), 'zstd');
    const { object } = await read('cut-parquet', whole.subarray(0, whole.length - 100));
    expect(object).toMatchObject({
      state: 'damaged',
      attempts: 1,
      events: '0',
      error: { code: 'unknown_format', message: expect.stringContaining('Parquet file that can’t be read') },
    });
  });
});
