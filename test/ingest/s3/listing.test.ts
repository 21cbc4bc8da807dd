import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
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
  settled,
} from '../../harness/s3-ledger.js';
import { type S3Proxy, startS3Proxy } from '../../harness/s3-proxy.js';

const DAY_MS = 86_400_000;
/** bench/backfill.ts reads 10,000. */
const OBJECTS = 250;
const SMALL_PAGES = { ...QUICK, WHOCHANGED_S3_LIST_PAGE_KEYS: '20' };

let s3: TestS3;
let proxy: S3Proxy;
let receiver: TestReceiver;
let replica: TestReceiver;
beforeAll(async () => {
  s3 = await startS3();
  proxy = await startS3Proxy(s3.endpoint);
  receiver = await startReceiver(SMALL_PAGES);
  replica = await startReceiver(SMALL_PAGES, receiver);
  receiver.ingest.s3.start();
  replica.ingest.s3.start();
});
afterAll(async () => {
  await replica.stop();
  await receiver.stop();
  await proxy.stop();
  await s3.stop();
});

/** `2026/03/02` of so many days ago: keys are looked at by the days that they name. */
function daysAgo(days: number): string {
  return new Date(Date.now() - days * DAY_MS).toISOString().slice(0, 10).replaceAll('-', '/');
}

async function scanOf(sourceID: number) {
  const { rows } = await receiver.database.pool.query(
    `select listed_at, after_key, keys::int, pass, error->>'code' as code, error->>'message' as message
       from s3_scans where source_id = $1`,
    [sourceID],
  );
  return rows[0] as Record<'listed_at' | 'after_key' | 'keys' | 'pass' | 'code' | 'message', unknown>;
}

/** Waits until so many more passes have come to their end. */
async function passes(sourceID: number, wanted: number): Promise<void> {
  const ends = new Set([String((await scanOf(sourceID)).listed_at)]);
  await expect
    .poll(async () => ends.add(String((await scanOf(sourceID)).listed_at)).size, {
      timeout: 60_000,
      interval: 100,
    })
    .toBeGreaterThan(wanted);
}

describe('two replicas on one prefix', () => {
  it('read each of many small objects once, whoever takes it', async () => {
    const bucket = await s3.createBucket();
    const events = deployments(OBJECTS, 'small');
    const keys = events.map((_, i) => `${daysAgo(i % 3)}/${String(i).padStart(5, '0')}.gz`);
    await putAll(bucket, keys, (i) => gzipSync(lines([events[i]])));
    const source = await addS3Source(receiver.database, s3, { name: 'small', bucket });
    const owners = new Set<string>();
    await Promise.all([receiver.ingest.s3.poke(), replica.ingest.s3.poke()]);
    const watch = setInterval(async () => {
      const { rows } = await receiver.database.pool.query(
        `select distinct lease_owner from source_objects where source_id = $1 and state = 'leased'`,
        [source],
      );
      for (const row of rows) owners.add(row.lease_owner as string);
    }, 20);
    const rows = await settled(receiver, source, OBJECTS).finally(() => clearInterval(watch));
    expect(new Set(rows.map((row) => `${row.state} ${row.attempts} ${row.events} ${row.stored}`))).toEqual(
      new Set(['done 1 1 1']),
    );
    expect(owners.size).toBe(2);
    expect(await ledgerCounts(receiver, source)).toEqual(once(OBJECTS));
  });
});

async function putAll(bucket: string, keys: string[], body: (index: number) => string | Buffer) {
  for (let at = 0; at < keys.length; at += 50)
    await Promise.all(keys.slice(at, at + 50).map((key, i) => s3.put(bucket, key, body(at + i))));
}

describe('a listing', () => {
  it('goes on at its checkpoint, finds late keys within its look-back, and passes over older days', async () => {
    const bucket = await s3.createBucket();
    const same = lines(deployments(1, 'same'));
    // More than a page of a listing, all of one day.
    const old = Array.from({ length: 22 }, (_, i) => `logs/${daysAgo(10)}/${String(i).padStart(5, '0')}`);
    await putAll(bucket, [...old, `logs/${daysAgo(1)}/m`], () => same);
    let lists = 0;
    proxy.treat(({ bucket: asked, key }) =>
      asked === bucket && key === '' && ++lists === 2 ? { status: 403, code: 'AccessDenied' } : undefined,
    );
    const source = await addS3Source(receiver.database, proxy, {
      name: 'late',
      bucket,
      prefix: 'logs/',
      lookBackSeconds: 2 * 86_400,
    });
    await receiver.ingest.s3.poke();
    await expect
      .poll(() => scanOf(source), { timeout: 30_000 })
      .toMatchObject({
        after_key: old[19],
        keys: 20,
        code: 'access_denied',
        message: `s3:ListBucket on arn:aws:s3:::${bucket} is not allowed`,
      });
    await hasten(receiver, source);
    await settled(receiver, source, 23);
    await expect.poll(async () => (await scanOf(source)).code, { timeout: 30_000 }).toBeNull();
    // The first page again, the rest behind it, and no page twice.
    expect(lists).toBeGreaterThanOrEqual(3);

    // Before and behind what was seen, of days within the look-back; and of one long ago.
    const put = (days: number, name: string) =>
      s3.put(bucket, `logs/${daysAgo(days)}/${name}`, lines(deployments(1, `late-${days}-${name}`)));
    await put(9, 'z');
    await put(0, 'a');
    await put(2, 'a');
    await put(1, 'z');
    await settled(receiver, source, 26);
    await passes(source, 1);
    const found = async () => (await objectRows(receiver, source)).map((row) => row.key);
    expect(await found()).not.toContain(`logs/${daysAgo(9)}/z`);

    // A pass over all keys, which comes once a day, finds that too.
    await receiver.database.pool.query(
      `update s3_scans set full_listed_at = now() - interval '2 days' where source_id = $1`,
      [source],
    );
    await hasten(receiver, source);
    await settled(receiver, source, 27);
    expect(await found()).toContain(`logs/${daysAgo(9)}/z`);
    // The same event in each of the old ones is one event.
    expect(await ledgerCounts(receiver, source)).toEqual(once(5));
  }, 120_000);

  it('is made as often as before after an outage in the midst of a pass', async () => {
    const bucket = await s3.createBucket();
    await s3.put(bucket, `${daysAgo(0)}/a`, lines(deployments(1, 'outage')));
    const source = await addS3Source(receiver.database, s3, { name: 'outage', bucket });
    await receiver.ingest.s3.poke();
    await settled(receiver, source, 1);
    // Listings of the others would wait at the same place, all that may be made at once.
    await receiver.database.pool.query('update sources set disabled_at = now() where id <> $1', [source]);
    // Postgres hangs for whoever would note a page.
    const client = await receiver.database.pool.connect();
    await client.query('begin');
    await client.query('lock table source_objects in share mode');
    const leasedFor = async () => {
      const { rows } = await client.query<{ leased: boolean; seconds: number }>(
        `select lease_token is not null as leased, extract(epoch from due_at - now())::float8 as seconds
           from s3_scans where source_id = $1`,
        [source],
      );
      return rows[0]!;
    };
    await expect.poll(async () => (await leasedFor()).leased, { timeout: 30_000 }).toBe(true);
    await new Promise((done) => setTimeout(done, 4000));
    await client.query('commit');
    await expect.poll(async () => (await leasedFor()).leased, { timeout: 30_000, interval: 20 }).toBe(false);
    // A twentieth of the time for listing would be a pause of 80 seconds.
    const { seconds } = await leasedFor();
    client.release();
    expect(seconds).toBeLessThan(15);
  }, 90_000);
});
