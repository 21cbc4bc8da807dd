import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventList } from '../../harness/events.js';
import { startReceiver, type TestReceiver } from '../../harness/receiver.js';
import { addS3Source, startS3, type TestS3 } from '../../harness/s3.js';
import {
  deployments,
  hasten,
  ledgerCounts,
  lines,
  objectRows,
  once,
  QUICK,
  rowOnce,
  settled,
} from '../../harness/s3-ledger.js';
import { startS3Proxy } from '../../harness/s3-proxy.js';
import { zstd, zstdReady } from '../../harness/zstd.js';
import { ENVELOPES } from '../formats/envelopes.js';

let s3: TestS3;
let receiver: TestReceiver;
beforeAll(async () => {
  await zstdReady();
  s3 = await startS3();
  receiver = await startReceiver(QUICK);
  receiver.ingest.s3.start();
});
afterAll(async () => {
  await receiver.stop();
  await s3.stop();
});

describe('objects', () => {
  it('are read whatever they are packed in, and whatever their name says', async () => {
    const bucket = await s3.createBucket();
    const events = deployments(7, 'packed');
    const list = (i: number) => eventList([events[i]]);
    await s3.put(bucket, 'a/1.json', list(0));
    await s3.put(bucket, 'a/2.txt', gzipSync(list(1)));
    await s3.put(bucket, 'a/3.json', zstd(Buffer.from(list(2))));
    await s3.put(bucket, 'a/4', Buffer.concat([gzipSync(lines([events[3]])), gzipSync(lines([events[4]]))]));
    await s3.put(bucket, 'a/5.gz', gzipSync(gzipSync(lines([events[5]]))));
    await s3.put(bucket, 'a/6.gz', lines([events[6]]));
    await s3.put(bucket, 'a/7.gz', '');
    await s3.put(bucket, 'other/8', list(0));
    const source = await addS3Source(receiver.database, s3, { name: 'packed', bucket, prefix: 'a/' });
    await receiver.ingest.s3.poke();
    const rows = await settled(receiver, source, 7);
    expect(rows.map((row) => [row.key, row.state, row.events, row.stored])).toEqual([
      ['a/1.json', 'done', '1', '1'],
      ['a/2.txt', 'done', '1', '1'],
      ['a/3.json', 'done', '1', '1'],
      ['a/4', 'done', '2', '2'],
      ['a/5.gz', 'done', '1', '1'],
      ['a/6.gz', 'done', '1', '1'],
      ['a/7.gz', 'done', '0', '0'],
    ]);
    expect(await ledgerCounts(receiver, source)).toEqual(once(7));
  });

  it('of each vendor are read from one bucket as their goldens say', async () => {
    const bucket = await s3.createBucket();
    // As a Firehose stream delivers EKS logs: each record compressed by CloudWatch Logs, the object again.
    const records = readFileSync(join(ENVELOPES, 'cloudwatch-subscription/firehose.json'));
    const objects: Array<[key: string, golden: string, body: Buffer]> = [
      ['eks/2026/03/02/09/1', 'cloudwatch-subscription/firehose', gzipSync(gzipSync(records))],
      [
        'eks-export/1/aws-logs/000000.gz',
        'cloudwatch-export/kube-apiserver-audit',
        gzipSync(sample('cloudwatch-export/kube-apiserver-audit.log')),
      ],
      ['gke/2026/03/02/S0.json', 'gke/log-sink', sample('gke/log-sink.ndjson')],
      ['aks/y=2026/m=03/d=02/h=09/m=00/PT1H.json', 'aks/storage-account', sample('aks/storage-account.json')],
      [
        'lake/eventDay=20260302/a.ndjson.gz',
        'ocsf/security-lake-1.1',
        gzipSync(sample('ocsf/security-lake-1.1.ndjson')),
      ],
      ['openshift/viaq.ndjson', 'openshift/viaq', sample('openshift/viaq.ndjson')],
      ['shipped/fluent-bit.ndjson', 'log-shipper/fluent-bit', sample('log-shipper/fluent-bit.ndjson')],
    ];
    for (const [key, , body] of objects) await s3.put(bucket, key, body);
    const source = await addS3Source(receiver.database, s3, { name: 'vendors', bucket });
    await receiver.ingest.s3.poke();
    const rows = new Map((await settled(receiver, source, objects.length)).map((row) => [row.key, row]));
    for (const [key, golden] of objects) {
      const { events, skipped, salvaged, rejections } = JSON.parse(
        readFileSync(join(ENVELOPES, `${golden}.golden.json`), 'utf8'),
      ) as { events: unknown[]; skipped: Record<string, number>; salvaged: number; rejections: unknown[] };
      expect([key, rows.get(key)]).toMatchObject([
        key,
        {
          state: 'done',
          attempts: 1,
          events: String(events.length),
          skipped: String(Object.values(skipped).reduce((sum, count) => sum + count, 0)),
          salvaged: String(salvaged),
          quarantined: String(rejections.length),
        },
      ]);
      expect(events.length).toBeGreaterThan(0);
    }
    const { events, distinct } = await ledgerCounts(receiver, source);
    expect(events).toBe(distinct);
  });
});

const sample = (path: string) => readFileSync(join(ENVELOPES, path));

describe('a broken object', () => {
  it('gives what is good of it, is tried again later each time, and then stands as damaged', async () => {
    const bucket = await s3.createBucket();
    const events = deployments(300, 'broken');
    const whole = gzipSync(lines(events.slice(0, 200)));
    const second = gzipSync(lines(events.slice(200)));
    const cut = whole.subarray(0, whole.length - 100);
    // A member that breaks off, and a whole one behind it.
    await s3.put(bucket, 'cut.gz', Buffer.concat([cut, second]));
    await s3.put(bucket, 'fine.gz', gzipSync(lines(deployments(3, 'fine'))));
    const source = await addS3Source(receiver.database, s3, { name: 'broken', bucket });
    await receiver.ingest.s3.poke();
    const first = await rowOnce(receiver, source, 'cut.gz', (row) => row.state === 'failed');
    expect(first).toMatchObject({ attempts: 1, error: { code: 'damaged' } });
    expect(first.error!.message).toMatch(/^the object is damaged: gzip: .*near byte \d+/);
    // What its tail holds is there already, and most of what is before the break.
    expect(Number(first.stored)).toBeGreaterThan(150);
    expect(first.retry_seconds).toBeGreaterThanOrEqual(2.4);
    expect(first.retry_seconds).toBeLessThan(5.1);
    await hasten(receiver, source);
    const again = await rowOnce(
      receiver,
      source,
      'cut.gz',
      (row) => row.attempts === 2 && row.state === 'failed',
    );
    expect(again.retry_seconds).toBeGreaterThanOrEqual(4.9);
    expect(again.retry_seconds).toBeLessThan(10.1);
    await hasten(receiver, source);
    const [damaged, fine] = await settled(receiver, source, 2);
    expect(damaged).toMatchObject({ state: 'damaged', attempts: 3, error: { code: 'damaged' } });
    expect(fine).toMatchObject({ state: 'done', attempts: 1, events: '3' });
    const { events: stored, distinct } = await ledgerCounts(receiver, source);
    expect(stored).toBe(distinct);
    expect(stored - 3).toBe(Number(damaged!.stored));
    const { rows } = await receiver.database.pool.query(
      `select reason, sample from quarantine where source_id = $1 and reason = 'damaged_object'`,
      [source],
    );
    expect(rows[0]).toMatchObject({ sample: expect.stringContaining(`s3://${bucket}/cut.gz: gzip:`) });

    // Uploaded again whole it is another content, and what is known of it is recognised.
    await s3.put(bucket, 'cut.gz', gzipSync(lines(events)));
    await hasten(receiver, source);
    await settled(receiver, source, 3);
    expect(await ledgerCounts(receiver, source)).toEqual(once(303));
  });

  it('of no known format says so, and is not tried again', async () => {
    const bucket = await s3.createBucket();
    await s3.put(bucket, 'notes.txt', '{"no":"audit event"}\n');
    await s3.put(bucket, 'noise.bin', Buffer.from(Array.from({ length: 5000 }, (_, i) => (i * 7919) % 251)));
    const source = await addS3Source(receiver.database, s3, { name: 'unknown', bucket });
    await receiver.ingest.s3.poke();
    for (const row of await settled(receiver, source, 2))
      expect(row).toMatchObject({ state: 'damaged', attempts: 1, error: { code: 'unknown_format' } });
    // A source that names the format has it read all the same, record by record.
    const location = { name: 'named', bucket, prefix: 'notes', format: 'audit-log' };
    const named = await addS3Source(receiver.database, s3, location);
    await receiver.ingest.s3.poke();
    expect(await settled(receiver, named, 1)).toMatchObject([
      { key: 'notes.txt', state: 'done', events: '0', quarantined: '1', error: null },
    ]);
  });
});

describe('an object whose lease another replica took', () => {
  it('is left to that one: its row stays as it is, and what was read is known when it comes again', async () => {
    const proxy = await startS3Proxy(s3.endpoint);
    try {
      const bucket = await s3.createBucket();
      const body = lines(deployments(300, 'taken'));
      await s3.put(bucket, 'slow.json', body);
      let release = () => {};
      const until = new Promise<void>((done) => {
        release = done;
      });
      let reads = 0;
      proxy.treat(({ key }) =>
        key === 'slow.json' && reads++ === 0 ? { cutAfter: body.length / 2, until } : undefined,
      );
      const source = await addS3Source(receiver.database, proxy, { name: 'taken', bucket });
      await receiver.ingest.s3.poke();
      await expect.poll(() => reads, { timeout: 30_000 }).toBe(1);
      // As if this replica had not been heard of for longer than its lease.
      await receiver.database.pool.query(
        `update source_objects set lease_token = gen_random_uuid(), lease_owner = 'another', due_at = now() + interval '1 hour'
          where source_id = $1`,
        [source],
      );
      release();
      await expect.poll(() => ledgerCounts(receiver, source), { timeout: 30_000 }).toEqual(once(300));
      const [held] = await objectRows(receiver, source);
      expect(held).toMatchObject({ state: 'leased', attempts: 1, events: '0', stored: '300' });
      await receiver.database.pool.query(
        `update source_objects set due_at = now() where source_id = $1 and lease_owner = 'another'`,
        [source],
      );
      const [read] = await settled(receiver, source, 1);
      expect(read).toMatchObject({ state: 'done', attempts: 2, events: '300', stored: '300' });
      expect(await ledgerCounts(receiver, source)).toEqual(once(300));
      expect(await receiver.metrics()).toContain('whochanged_s3_lease_expiries_total 1\n');
    } finally {
      await proxy.stop();
    }
  });
});

describe('an object that changes', () => {
  it('while it is read is never a mixture: the new content is read too, and what both hold is stored once', async () => {
    const proxy = await startS3Proxy(s3.endpoint);
    try {
      const bucket = await s3.createBucket();
      const events = deployments(400, 'replaced');
      const old = lines(events.slice(0, 300));
      await s3.put(bucket, 'log.json', old);
      let release = () => {};
      const until = new Promise<void>((done) => {
        release = done;
      });
      let cuts = 0;
      proxy.treat(({ key }) =>
        key === 'log.json' && cuts++ === 0 ? { cutAfter: old.length / 2, until } : undefined,
      );
      const source = await addS3Source(receiver.database, proxy, { name: 'replaced', bucket });
      await receiver.ingest.s3.poke();
      await expect.poll(() => cuts, { timeout: 30_000 }).toBe(1);
      await s3.put(bucket, 'log.json', lines(events.slice(100)));
      release();
      const [first, second] = await settled(receiver, source, 2);
      expect(first).toMatchObject({ state: 'replaced', stored: '0' });
      expect(second).toMatchObject({ state: 'done', events: '300' });
      expect(second!.etag).not.toBe(first!.etag);
      // It was asked for the rest of the old content only.
      expect(proxy.requests.some(({ range }) => range !== undefined)).toBe(true);
      expect(await ledgerCounts(receiver, source)).toEqual(once(300));
    } finally {
      await proxy.stop();
    }
  });

  it('between readings is read again, and deduplicates', async () => {
    const bucket = await s3.createBucket();
    const events = deployments(20, 'grown');
    await s3.put(bucket, 'log.json', lines(events.slice(0, 12)));
    const source = await addS3Source(receiver.database, s3, { name: 'grown', bucket });
    await receiver.ingest.s3.poke();
    await settled(receiver, source, 1);
    await s3.put(bucket, 'log.json', lines(events));
    await hasten(receiver, source);
    expect((await settled(receiver, source, 2)).map((row) => [row.state, row.events, row.stored])).toEqual([
      ['done', '12', '12'],
      ['done', '20', '8'],
    ]);
    expect(await ledgerCounts(receiver, source)).toEqual(once(20));
  });

  it('is gone where it was deleted before it was read', async () => {
    const proxy = await startS3Proxy(s3.endpoint);
    try {
      const bucket = await s3.createBucket();
      await s3.put(bucket, 'a.json', lines(deployments(1, 'gone')));
      proxy.treat(({ key }) => (key === 'a.json' ? { status: 404, code: 'NoSuchKey' } : undefined));
      const source = await addS3Source(receiver.database, proxy, { name: 'gone', bucket });
      await receiver.ingest.s3.poke();
      expect(await settled(receiver, source, 1)).toMatchObject([{ state: 'gone' }]);
      // It lies there again with the same content.
      proxy.treat(() => undefined);
      await hasten(receiver, source);
      await rowOnce(receiver, source, 'a.json', (row) => row.state === 'done');
      expect(await objectRows(receiver, source)).toHaveLength(1);
    } finally {
      await proxy.stop();
    }
  });
});
