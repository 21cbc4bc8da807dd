import { fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { startS3, type TestS3 } from '../test/harness/s3.js';
import { type RunningSystem, startSystem, webhookToken } from '../test/harness/system.js';
import {
  type Ask,
  askAsAdmin,
  type Backfill,
  backfill,
  nameOf,
  packed,
  startBackfill,
  upload,
} from './bucket.js';
import { costing } from './cpu.js';
import { add, type Multiset, stored } from './multiset.js';
import { Traffic } from './traffic.js';

/**
 * `npm run bench:backfill -- [sessions] [parts]`
 * Parts, all of them if none is named: `rate` (the same events by the webhook and from a bucket, each into an empty
 * ledger), `large` (one object of BENCH_LARGE_MB, default 2048), `small` (10,000 objects of one event), `list` (a listing
 * of 100,000 keys). The S3 server is fauxqs, in the bench's process; whochanged runs in one of its own.
 */
const sessions = Number(process.argv[2] ?? 40);
const parts = (process.argv[3] ?? 'rate,large,small,list').split(',');
const CONNECTIONS = 8;
const WARM_UP = 4;
const SMALL_OBJECTS = Number(process.env.BENCH_SMALL ?? 10_000);
const KEYS = Number(process.env.BENCH_KEYS ?? 100_000);
const LARGE_BYTES = Number(process.env.BENCH_LARGE_MB ?? 2048) * 1024 * 1024;
/** fauxqs takes no larger part. */
const UPLOAD_BYTES = 8 * 1024 * 1024;
const LARGE_SESSIONS = Number(process.env.BENCH_LARGE_SESSIONS ?? Number.POSITIVE_INFINITY);

const traffic = new Traffic();

interface Bench {
  system: RunningSystem;
  folder: string;
  token: string;
  ask: Ask;
}

/** Runs a part against whochanged with an empty ledger. */
async function withSystem<T>(run: (bench: Bench) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'whochanged-bench-'));
  await chmod(folder, 0o711);
  const system = await startSystem(folder, { WHOCHANGED_ROLES: 'ingest,api' }, 'build');
  try {
    return await run({
      system,
      folder,
      token: await webhookToken(folder),
      ask: askAsAdmin(system, folder),
    });
  } finally {
    await system.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

/** Posts sessions as an apiserver does. Returns events and the seconds it took. */
function post({ system, token }: Bench, first: number, count: number) {
  const child = fork(
    join(import.meta.dirname, 'sender.ts'),
    [`${system.http}/ingest/v1/audit/default`, token, String(first), String(count), String(CONNECTIONS)],
    { execArgv: ['--import', 'tsx', '--max-old-space-size=6000'] },
  );
  return new Promise<{ seconds: number; events: number; bytes: number }>((resolve, reject) => {
    child.on('message', (message) =>
      message === 'ready'
        ? child.send('go')
        : resolve(message as { seconds: number; events: number; bytes: number }),
    );
    child.on('exit', (code) => code !== 0 && reject(new Error(`the sender failed: ${code}`)));
  });
}

function peakRss({ child }: RunningSystem): number {
  return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1]) / 1024;
}

async function rate(s3: TestS3): Promise<void> {
  const bucket = await s3.createBucket();
  await upload(s3, bucket, packed(traffic, Array(sessions).keys()));
  const posted = await withSystem(async (bench) => {
    await post(bench, 100_000, WARM_UP);
    return {
      ...(await costing(bench.system.child.pid!, bench.folder, () => post(bench, 0, sessions))),
      rss: peakRss(bench.system),
    };
  });
  const read = await withSystem(async (bench) => {
    await post(bench, 100_000, WARM_UP);
    const read = await costing(bench.system.child.pid!, bench.folder, () => backfill(bench.ask, s3, bucket));
    return { ...read, rss: peakRss(bench.system) };
  });
  if (read.events !== posted.events || read.duplicates + read.quarantined > 0)
    throw new Error(`posted ${posted.events} events, read ${JSON.stringify(read)}`);
  const webhook = posted.events / posted.seconds;
  const bucketRate = read.events / read.seconds;
  console.log(
    `rate     ${posted.events} events (mean ${Math.round(posted.bytes / posted.events)} bytes) in ${read.found} objects`,
  );
  console.log(
    `webhook  ${Math.round(webhook)} events/s over ${CONNECTIONS} connections, peak RSS ${posted.rss.toFixed(0)} MB; ${posted.cost}`,
  );
  console.log(
    `bucket   ${Math.round(bucketRate)} events/s, listing included, peak RSS ${read.rss.toFixed(0)} MB; ${read.cost}`,
  );
  console.log(
    `ratio    ${(bucketRate / webhook).toFixed(2)} of the webhook's rate; ${(read.micros / posted.micros).toFixed(2)} of its CPU an event`,
  );
}

/** Sessions until there are so many bytes, in pieces that fauxqs takes as parts. Adds those that differ to `made`. */
function* largeText(least: number, made: Multiset): Generator<Buffer> {
  let waiting = Buffer.alloc(0);
  let bytes = 0;
  for (let n = 0; bytes < least; n++) {
    const lines = traffic.session(n % LARGE_SESSIONS);
    if (n < LARGE_SESSIONS) for (const line of lines) add(made, line);
    const text = Buffer.from(`${lines.join('\n')}\n`);
    bytes += text.length;
    waiting = Buffer.concat([waiting, text]);
    for (; waiting.length >= UPLOAD_BYTES; waiting = waiting.subarray(UPLOAD_BYTES))
      yield waiting.subarray(0, UPLOAD_BYTES);
  }
  if (waiting.length > 0) yield waiting;
}

/**
 * All of its events differ, unless BENCH_LARGE_SESSIONS says that its first sessions come again and again.
 * @throws Error if what is stored is not each of the events once
 */
async function large(s3: TestS3): Promise<void> {
  const bucket = await s3.createBucket();
  const Key = '2026/03/02/large.json';
  const { UploadId } = await s3.client.send(new CreateMultipartUploadCommand({ Bucket: bucket, Key }));
  const Parts: Array<{ PartNumber: number; ETag: string | undefined }> = [];
  const made: Multiset = { events: 0, sum: 0n };
  let bytes = 0;
  for (const Body of largeText(LARGE_BYTES, made)) {
    const PartNumber = Parts.length + 1;
    const { ETag } = await s3.client.send(
      new UploadPartCommand({ Bucket: bucket, Key, UploadId, PartNumber, Body }),
    );
    Parts.push({ PartNumber, ETag });
    bytes += Body.length;
  }
  await s3.client.send(
    new CompleteMultipartUploadCommand({ Bucket: bucket, Key, UploadId, MultipartUpload: { Parts } }),
  );
  await withSystem(async (bench) => {
    const idle = peakRss(bench.system);
    const read = await costing(bench.system.child.pid!, bench.folder, () => backfill(bench.ask, s3, bucket));
    const peak = peakRss(bench.system);
    const megabytes = bytes / 1024 / 1024;
    const kept = await stored(bench.folder);
    console.log(
      `large    ${Math.round(megabytes)} MB in one object, ${read.events} events (${read.duplicates} duplicates, ${read.quarantined} quarantined), of ${made.events} that differ ${kept.events} stored: ${read.seconds.toFixed(0)} s, ${(megabytes / read.seconds).toFixed(1)} MB/s, peak RSS ${peak.toFixed(0)} MB (${idle.toFixed(0)} MB idle); ${read.cost}`,
    );
    if (kept.events !== made.events || kept.sum !== made.sum)
      throw new Error(`made ${made.events} (${made.sum}), stored ${kept.events} (${kept.sum})`);
  });
}

async function small(s3: TestS3): Promise<void> {
  const bucket = await s3.createBucket();
  const lines: string[] = [];
  for (let n = 0; lines.length < SMALL_OBJECTS; n++) lines.push(...traffic.session(n));
  await upload(
    s3,
    bucket,
    lines.slice(0, SMALL_OBJECTS).map((line, i) => ({ key: nameOf(i), body: gzipSync(line) })),
  );
  await withSystem(async (bench) => {
    const read = await backfill(bench.ask, s3, bucket);
    if (read.events !== SMALL_OBJECTS || read.duplicates > 0) throw new Error(JSON.stringify(read));
    console.log(
      `small    ${read.finished} objects of one event: ${read.seconds.toFixed(0)} s, ${Math.round(read.finished / read.seconds)} objects/s, peak RSS ${peakRss(bench.system).toFixed(0)} MB`,
    );
  });
}

/** Objects that are empty, so that next to nothing but the listing is seen. They are read meanwhile. */
async function list(s3: TestS3): Promise<void> {
  const bucket = await s3.createBucket();
  await upload(
    s3,
    bucket,
    (function* () {
      for (let i = 0; i < KEYS; i++) yield { key: nameOf(i), body: '' };
    })(),
  );
  await withSystem(async (bench) => {
    const started = performance.now();
    let now = await startBackfill(bench.ask, s3, bucket);
    while (now.state === 'listing') {
      await new Promise((done) => setTimeout(done, 100));
      now = await bench.ask<Backfill>('GET', `/v1/backfills/${now.id}`);
    }
    const seconds = (performance.now() - started) / 1000;
    if (now.found !== KEYS) throw new Error(JSON.stringify(now));
    console.log(
      `list     ${KEYS} keys: ${seconds.toFixed(1)} s while ${now.finished} objects were read, peak RSS ${peakRss(bench.system).toFixed(0)} MB`,
    );
    await bench.ask('POST', `/v1/backfills/${now.id}/cancel`);
  });
}

const s3 = await startS3();
const runs: Record<string, (s3: TestS3) => Promise<void>> = { rate, large, small, list };
for (const part of parts) {
  const run = runs[part];
  if (!run) throw new Error(`there is no part "${part}"; one of ${Object.keys(runs).join(', ')}`);
  await run(s3);
}
await s3.stop();
