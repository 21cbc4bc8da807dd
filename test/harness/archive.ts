import { Registry } from 'prom-client';
import { parseRetention } from '../../core/retention/policy.js';
import type { Job } from '../../jobs/job.js';
import { retentionJob, sweepBodiesJob } from '../../jobs/retention.js';
import { createRetentionMetrics } from '../../jobs/retention-metrics.js';
import { S3Archive } from '../../store/archive/files.js';
import { openBodies, type StoredBody, storedBodiesSql } from '../../store/body-packs.js';
import { S3Clients } from '../../store/s3-client.js';
import type { S3Place } from '../../store/s3-place.js';
import type { TestReceiver } from './receiver.js';
import type { TestS3 } from './s3.js';

/** The archive of a test: a bucket of its own, and the jobs that move what is old into it. */
export interface TestArchive {
  archive: S3Archive;
  place: S3Place;
  /** Runs a job as of a time; gives its rows. */
  run(job: Job, now: string): Promise<number>;
  retain(words: string[], now: string): Promise<number>;
  sweep(): Promise<number>;
  stop(): Promise<void>;
}

export async function openArchive(
  receiver: TestReceiver,
  s3: TestS3,
  endpoint = s3.endpoint,
): Promise<TestArchive> {
  const clients = new S3Clients();
  const place: S3Place = {
    bucket: await s3.createBucket(),
    prefix: 'prod/',
    region: null,
    endpoint,
    pathStyle: true,
    roleARN: null,
    externalID: null,
    profile: null,
  };
  const archive = new S3Archive(clients, place);
  const metrics = createRetentionMetrics(new Registry());
  const run = async (job: Job, now: string) => {
    const client = await receiver.database.pool.connect();
    try {
      const { rows } = await job.runOnce({
        client,
        now: () => new Date(now),
        log: { info: () => undefined, warn: () => undefined, error: () => undefined },
        signal: new AbortController().signal,
      });
      return rows;
    } finally {
      client.release();
    }
  };
  return {
    archive,
    place,
    run,
    retain: (words, now) =>
      run(
        retentionJob({ policy: parseRetention(words), archive, metrics, segmentEvents: 100, minEvents: 1 }),
        now,
      ),
    sweep: () => run(sweepBodiesJob(), '2027-01-01T00:00:00Z'),
    stop: () => clients.stop(),
  };
}

/** Every body with its text, in an order of its own, wherever its content stands. */
export async function dumpBodies(receiver: TestReceiver): Promise<string[]> {
  const { rows } = await receiver.database.pool.query<StoredBody>(
    storedBodiesSql('true', '(select id from clusters)'),
  );
  return [...(await openBodies(rows))].map(([digest, text]) => `${digest} ${text}`).sort();
}

/** Every row of a table as text, in an order of its own: equal for tables that hold the same. */
export async function dump(receiver: TestReceiver, table: string): Promise<string[]> {
  const { rows } = await receiver.database.pool.query<{ row: string }>(
    `select t::text as row from ${table} t order by t::text`,
  );
  return rows.map(({ row }) => row);
}
