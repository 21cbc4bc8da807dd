import type { S3Client } from '@aws-sdk/client-s3';
import type { Pool } from 'pg';
import type { S3Source } from '../../store/s3-sources.js';
import { type LeasedObject, recordObjects, releaseObject, type Trouble } from '../../store/source-objects.js';
import { FORMATS, type Format } from '../formats/format.js';
import { LeaseLost, type ObjectReader, readObject } from '../object-reading.js';
import { parquetLines, startsParquet } from '../parquet-lines.js';
import { backoffSeconds } from './backoff.js';
import { ObjectChanged, ObjectStream } from './object-stream.js';
import { asking, attemptOn, ServiceTrouble } from './trouble.js';

/** A damaged object is read again so often, in case that it was damaged on the way. */
const MAX_DAMAGED_ATTEMPTS = 3;
const FIRST_RETRY_SECONDS = 5;

/** How a leased object ended; `stopped`: it was let go unread, for somebody else. */
export interface LeasedEnd {
  result: 'done' | 'damaged' | 'failed' | 'gone' | 'replaced' | 'lost' | 'stopped';
  /** Bytes read of it. */
  bytes: number;
  trouble?: Trouble;
}

/**
 * Reads an object that this process has leased, and settles its row whatever comes.
 * @throws what failed in Postgres or in whochanged itself; where the row could not be settled, its lease ends by itself
 */
export async function readLeased(
  leased: LeasedObject,
  source: S3Source,
  parts: { pool: Pool; client: S3Client; reader: ObjectReader; leaseSeconds: number; signal: AbortSignal },
): Promise<LeasedEnd> {
  const { pool, client, reader, leaseSeconds, signal } = parts;
  const input = new ObjectStream(client, leased, attemptOn(source, leased.key), signal);
  const end = (result: LeasedEnd['result'], trouble?: Trouble): LeasedEnd => ({
    result,
    bytes: input.position,
    ...(trouble && { trouble }),
  });
  const fail = async (trouble: Trouble): Promise<LeasedEnd> => {
    const retrySeconds = backoffSeconds(leased.attempt, FIRST_RETRY_SECONDS);
    await releaseObject(pool, leased, { state: 'failed', retrySeconds, trouble });
    return end('failed', trouble);
  };
  const label = `s3://${leased.bucket}/${leased.key}`;
  const final = (trouble: Trouble) =>
    trouble.code === 'unknown_format' || leased.attempt >= MAX_DAMAGED_ATTEMPTS;
  try {
    const read = await readObject(
      {
        source,
        id: leased.id,
        leaseToken: leased.leaseToken,
        leaseSeconds,
        label,
        format: formatOf(source.format),
        attempt: leased.attempt,
      },
      contentsOf(input),
      {
        reader,
        position: () => input.position,
        signal,
        end: (trouble) => {
          if (trouble && !final(trouble)) return undefined;
          return { state: trouble ? 'damaged' : 'done', trouble, versionID: input.versionID };
        },
      },
    );
    if (!read.trouble) return end('done');
    return final(read.trouble) ? end('damaged', read.trouble) : await fail(read.trouble);
  } catch (error) {
    if (error instanceof LeaseLost || signal.reason instanceof LeaseLost) return end('lost');
    if (signal.aborted) {
      await releaseObject(pool, leased, { state: 'new', retrySeconds: 0 });
      return end('stopped');
    }
    if (error instanceof ServiceTrouble) return fail(error.trouble);
    if (!(error instanceof ObjectChanged)) {
      await fail({
        code: 'internal',
        message: `reading ${label} failed in whochanged: ${(error as Error).name}`,
        hint: 'see its log',
      });
      throw error;
    }
    if (error.change === 'replaced') await recordReplacement(client, source, leased, pool);
    await releaseObject(pool, leased, { state: error.change, retrySeconds: 0 });
    return end(error.change);
  }
}

/** The bytes as they lie there; of a Parquet file its rows, which takes reading its end first. */
async function* contentsOf(object: ObjectStream): AsyncGenerator<Buffer> {
  let parquet: boolean | undefined;
  for await (const chunk of object) {
    parquet ??= startsParquet(chunk) && object.size !== undefined;
    if (parquet) break;
    yield chunk;
  }
  if (!parquet) return;
  object.position = 0;
  yield* parquetLines(object.size!, (from, to) => object.range(from, to));
}

function formatOf(format: string): Format | 'auto' {
  return (FORMATS as readonly string[]).includes(format) ? (format as Format) : 'auto';
}

/** Makes a row of what lies there now, so that it needn't be listed first. A listing finds it as well. */
async function recordReplacement(
  client: S3Client,
  source: S3Source,
  { key, bucket }: LeasedObject,
  pool: Pool,
): Promise<void> {
  const { HeadObjectCommand } = await import('@aws-sdk/client-s3');
  const request = new HeadObjectCommand({ Bucket: bucket, Key: key });
  const head = await asking(attemptOn(source, key), () => client.send(request)).catch(() => undefined);
  if (head?.ETag === undefined) return;
  const found = {
    key,
    etag: head.ETag.replaceAll('"', ''),
    size: head.ContentLength ?? 0,
    lastModified: (head.LastModified ?? new Date()).toISOString(),
  };
  await recordObjects(pool, source, [found], null);
}
