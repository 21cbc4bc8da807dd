import { generateKeyPairSync } from 'node:crypto';
import { Registry } from 'prom-client';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { verifierOf } from '../../core/log/note.js';
import { copyCheckpointsJob, createCheckpointCopyMetrics } from '../../jobs/checkpoint-copies.js';
import type { Job } from '../../jobs/job.js';
import { checkpointJob } from '../../jobs/proof-log.js';
import { readCopies } from '../../store/log/checkpoint-copies.js';
import { findLatestCheckpoint } from '../../store/log/checkpoints.js';
import { verifyTree } from '../../store/log/verify-tree.js';
import { S3Clients } from '../../store/s3-client.js';
import { parseS3Place, type S3Place } from '../../store/s3-place.js';
import { Cluster, eventList } from '../harness/events.js';
import { startReceiver, type TestReceiver } from '../harness/receiver.js';
import { startS3, type TestS3 } from '../harness/s3.js';
import { type S3Proxy, startS3Proxy } from '../harness/s3-proxy.js';

const ORIGIN = 'ledger.example.com/whochanged';
const keys = generateKeyPairSync('ed25519');
const clients = new S3Clients();
const registry = new Registry();
const metrics = createCheckpointCopyMetrics(registry);
const cluster = new Cluster();

const LOCKED = {
  'x-amz-object-lock-mode': 'COMPLIANCE',
  'x-amz-object-lock-retain-until-date': '2026-04-01T12:00:00Z',
};

let receiver: TestReceiver;
let s3: TestS3;
let proxy: S3Proxy;
let place: S3Place;
let warned: string[] = [];

beforeAll(async () => {
  [receiver, s3] = await Promise.all([startReceiver(), startS3()]);
  proxy = await startS3Proxy(s3.endpoint);
  const bucket = await s3.createBucket();
  place = parseS3Place(`s3://${bucket}/prod?endpoint=${proxy.endpoint}&pathStyle=true`);
});
afterAll(async () => {
  await clients.stop();
  await proxy.stop();
  await Promise.all([s3.stop(), receiver.stop()]);
});

async function run(job: Job): Promise<number> {
  const client = await receiver.database.pool.connect();
  try {
    warned = [];
    const { rows } = await job.runOnce({
      client,
      now: () => new Date('2026-03-02T12:00:00Z'),
      log: {
        info: () => undefined,
        warn: (_fields, text) => void warned.push(text),
        error: () => undefined,
      },
      signal: new AbortController().signal,
    });
    return rows;
  } finally {
    client.release();
  }
}

const sign = () => run(checkpointJob({ origin: ORIGIN, privateKey: keys.privateKey }));
const copy = () => run(copyCheckpointsJob(clients, { place, lockDays: 30 }, metrics));
const grow = async (name: string) => {
  await receiver.post(eventList([cluster.deployment('create', name, { image: 'web:1' })]));
  await sign();
};
const gauge = async (name: string) => (await registry.getSingleMetric(name)!.get()).values[0]?.value;

it('copies the newest checkpoint once, and says where nothing locks it', async () => {
  await grow('a');
  proxy.treat(({ query }) =>
    query.startsWith('?object-lock')
      ? { status: 404, code: 'ObjectLockConfigurationNotFoundError' }
      : undefined,
  );
  expect(await copy()).toBe(1);
  expect(warned).toEqual(['checkpoints are copied without Object Lock: the bucket has none']);
  expect(await gauge('whochanged_checkpoint_copies_locked')).toBe(0);
  expect(await copy()).toBe(0);
  const { rows } = await receiver.database.pool.query('select note from log_checkpoints');
  expect(await readCopies(clients, place)).toEqual(rows.map((row) => row.note));
});

/** A bucket with Object Lock; objects are read back with what it then says of them. */
const lockingBucket = (says: Record<string, string>) =>
  proxy.treat(({ method, query, key }) => {
    if (query.startsWith('?object-lock'))
      return {
        xml: '<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>',
      };
    return method === 'GET' && key !== '' ? { adding: says } : undefined;
  });
const lockedUntil = async () => (await findLatestCheckpoint(receiver.database.pool))!.lockedUntil;

it.each([
  ['nothing of a lock', 'b1', {}],
  ['a lock that whoever may can lift', 'b2', { 'x-amz-object-lock-mode': 'GOVERNANCE' }],
  ['a shorter lock', 'b3', { 'x-amz-object-lock-retain-until-date': '2026-03-03T12:00:00Z' }],
])('calls no copy locked of which the bucket says %s, whatever was asked', async (_name, object, says) => {
  await grow(object);
  lockingBucket(says && Object.keys(says).length > 0 ? { ...LOCKED, ...says } : {});
  expect(await copy()).toBe(1);
  expect(warned).toEqual([expect.stringMatching(/^the copy of a checkpoint was read back without the lock/)]);
  expect(await gauge('whochanged_checkpoint_copies_locked')).toBe(0);
  expect(await lockedUntil()).toBeNull();
});

it('locks copies in a bucket with Object Lock, so that nobody can delete them', async () => {
  await grow('b');
  lockingBucket(LOCKED);
  expect(await copy()).toBe(1);
  expect(warned).toEqual([]);
  expect(await gauge('whochanged_checkpoint_copies_locked')).toBe(1);
  expect(await lockedUntil()).toBe('2026-04-01T12:00:00.000000Z');
  // Told again by a process that has just started.
  metrics.locked.set(0);
  expect(await copy()).toBe(0);
  expect(await gauge('whochanged_checkpoint_copies_locked')).toBe(1);
  const put = proxy.requests.findLast(({ method }) => method === 'PUT')!;
  expect(put.headers).toMatchObject({
    'x-amz-object-lock-mode': 'COMPLIANCE',
    'x-amz-object-lock-retain-until-date': '2026-04-01T12:00:00Z',
    'x-amz-checksum-sha256': expect.any(String),
  });
});

it('says what went wrong in the run, the metric and the row, and makes up for it', async () => {
  await grow('c');
  proxy.treat(({ method }) => (method === 'PUT' ? { status: 403, code: 'AccessDenied' } : undefined));
  await expect(copy()).rejects.toThrow(/^checkpoint 6 to s3:.*\/prod\/: /);
  expect(await gauge('whochanged_checkpoint_copy_failures_total')).toBe(1);
  const errors = () =>
    receiver.database.pool.query(
      'select copy_error from log_checkpoints where size = 6 and copied_at is null',
    );
  expect((await errors()).rows).toEqual([{ copy_error: expect.any(String) }]);
  proxy.treat(() => undefined);
  expect(await copy()).toBe(1);
  expect((await errors()).rows).toEqual([]);
});

it('finds a log out that was cut off with its checkpoints', async () => {
  const { pool } = receiver.database;
  await pool.query('delete from log_checkpoints where size > 1');
  await pool.query('update log_size set size = 1');
  await pool.query('update log_tiles set hashes = substr(hashes, 1, 32)');
  const client = await pool.connect();
  try {
    const trusted = [verifierOf(ORIGIN, keys.publicKey)];
    expect((await verifyTree(client, trusted)).problems).toEqual([]);
    expect((await verifyTree(client, trusted, await readCopies(clients, place))).problems).toEqual([
      'the log was cut: it has 1 leaves, and a checkpoint (copy) was signed over 2',
    ]);
  } finally {
    client.release();
  }
});
