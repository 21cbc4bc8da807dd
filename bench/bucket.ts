import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { TestS3 } from '../test/harness/s3.js';
import type { RunningSystem } from '../test/harness/system.js';
import type { Traffic } from './traffic.js';

/** As Firehose and log sinks do by default: objects of a few MB, before compression. */
const OBJECT_BYTES = 5 * 1024 * 1024;
/** Uploads at once. */
const UPLOADS = 16;

export interface BucketObject {
  key: string;
  body: string | Buffer;
}

/** Asks the API as its admin. @throws Error with what it answered, unless it is a success */
export type Ask = <A>(method: string, path: string, body?: unknown) => Promise<A>;

export interface Backfill {
  id: number;
  state: string;
  keys: number;
  found: number;
  finished: number;
  events: number;
  duplicates: number;
  quarantined: number;
  /** Why its listing can't go on. */
  error?: { message: string } | null;
}

export function askAsAdmin(system: RunningSystem, folder: string): Ask {
  const admin = readFileSync(join(folder, 'admin-token'), 'utf8').trim();
  return async <A>(method: string, path: string, body?: unknown): Promise<A> => {
    const response = await fetch(system.http + path, {
      method,
      headers: {
        authorization: `Bearer ${admin}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as A;
  };
}

export const nameOf = (n: number): string => `2026/03/02/${String(n).padStart(6, '0')}.gz`;

/** Sessions as gzip objects, an event a line. */
export function* packed(traffic: Traffic, sessions: Iterable<number>): Generator<BucketObject> {
  let lines: string[] = [];
  let bytes = 0;
  let object = 0;
  const pack = (): BucketObject => {
    const body = gzipSync(`${lines.join('\n')}\n`);
    lines = [];
    bytes = 0;
    return { key: nameOf(object++), body };
  };
  for (const n of sessions) {
    for (const line of traffic.session(n)) {
      lines.push(line);
      bytes += line.length + 1;
      if (bytes >= OBJECT_BYTES) yield pack();
    }
  }
  if (lines.length > 0) yield pack();
}

export async function upload(s3: TestS3, bucket: string, objects: Iterable<BucketObject>): Promise<void> {
  const waiting = objects[Symbol.iterator]();
  const put = async () => {
    for (let next = waiting.next(); !next.done; next = waiting.next())
      await s3.put(bucket, next.value.key, next.value.body);
  };
  await Promise.all(Array.from({ length: UPLOADS }, put));
}

/** Reads a bucket to its end, into a cluster. */
export async function backfill(
  ask: Ask,
  s3: TestS3,
  bucket: string,
  cluster = 'default',
): Promise<Backfill & { seconds: number }> {
  const started = performance.now();
  let now = await startBackfill(ask, s3, bucket, cluster);
  while (now.state !== 'done') {
    await new Promise((done) => setTimeout(done, 100));
    now = await ask<Backfill>('GET', `/v1/backfills/${now.id}`);
    if (now.error) throw new Error(`the backfill can't go on: ${now.error.message}`);
  }
  return { ...now, seconds: (performance.now() - started) / 1000 };
}

export function startBackfill(ask: Ask, s3: TestS3, bucket: string, cluster = 'default'): Promise<Backfill> {
  return ask<Backfill>('POST', '/v1/backfills', {
    bucket,
    prefix: '',
    cluster,
    endpoint: s3.endpoint,
    pathStyle: true,
  });
}
