import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { leaseScan, releaseScan } from '../../../store/s3-scans.js';
import { createS3Source } from '../../../store/s3-sources.js';
import { leaseObjects, recordObjects, releaseObject } from '../../../store/source-objects.js';
import { Probing } from './probing.js';

let probing: Probing;
let sourceID: number;
beforeEach(async () => {
  probing = await Probing.start();
  const client = await probing.receiver.database.pool.connect();
  sourceID = await createS3Source(client, {
    name: 'archive',
    cluster: 'prod',
    location: {
      bucket: 'audit',
      prefix: '',
      region: null,
      endpoint: null,
      pathStyle: false,
      roleARN: null,
      externalID: null,
      profile: null,
      format: 'auto',
      queueURL: null,
    },
    follow: { lookBackSeconds: 3600, since: null },
  });
  client.release();
});
afterEach(() => probing.stop());

const denied = { code: 's3_access_denied', message: 'no s3:GetObject' };
const source = () => ({ sourceID, clusterID: 1, bucket: 'audit' });

async function record(...objects: Array<[key: string, lastModified: string]>): Promise<void> {
  const found = objects.map(([key, lastModified]) => ({ key, etag: randomUUID(), size: 10, lastModified }));
  await recordObjects(probing.receiver.database.pool, source(), found, null);
}

async function readAll(state: 'failed' | 'gone', retrySeconds = 0): Promise<void> {
  const { pool } = probing.receiver.database;
  for (const held of await leaseObjects(pool, source(), { owner: 'test', seconds: 60, limit: 10 }))
    await releaseObject(pool, held, { state, retrySeconds, ...(state === 'failed' && { trouble: denied }) });
}

async function done(): Promise<void> {
  await probing.rows(
    `update source_objects set state = 'done', error = null, error_at = null, lease_token = null`,
  );
}

describe('an object of a bucket', () => {
  it('that can’t be read is a gap of the time it was written in, also while it is tried again, until it is read', async () => {
    await record(
      ['a.gz', '2026-03-02T09:10:00Z'],
      ['b.gz', '2026-03-02T09:50:00Z'],
      ['c.gz', '2026-03-02T11:00:00Z'],
    );
    await probing.run('findGaps');
    expect(await probing.gaps()).toEqual([]);
    await readAll('failed');
    const expected = [
      {
        cause: 'object_unread',
        since: '2026-03-02T08:10:00.000000Z',
        until: '2026-03-02T09:50:00.000001Z',
        missing: null,
        state: 'open',
        evidence: { objects: 2, failed: 2, codes: ['s3_access_denied'], keys: ['a.gz', 'b.gz'] },
      },
      { since: '2026-03-02T10:00:00.000000Z', evidence: { keys: ['c.gz'] }, state: 'open' },
    ];
    await probing.run('findGaps');
    expect(await probing.gaps()).toMatchObject(expected);
    await leaseObjects(probing.receiver.database.pool, source(), { owner: 'test', seconds: 60, limit: 10 });
    await probing.run('findGaps');
    expect(await probing.gaps()).toMatchObject(expected);
    await done();
    await probing.run('findGaps');
    expect(await probing.gaps()).toMatchObject([
      { state: 'closed', closed_reason: 'read' },
      { state: 'closed', closed_reason: 'read' },
    ]);
  });

  it('that was deleted before it was read is a gap for ever', async () => {
    await record(['a.gz', '2026-03-02T09:10:00Z']);
    await readAll('gone');
    await probing.run('findGaps');
    expect(await probing.gaps()).toMatchObject([
      { evidence: { gone: 1, failed: 0, waiting: 0 }, state: 'open' },
    ]);
  });

  it('that waits for more than an hour is a gap meanwhile', async () => {
    await record(['a.gz', '2026-03-02T09:10:00Z']);
    await probing.rows(`update source_objects set found_at = '${probing.apiserver.date.toISOString()}'`);
    probing.apiserver.wait(3500);
    await probing.run('findGaps');
    expect(await probing.gaps()).toEqual([]);
    probing.apiserver.wait(200);
    await probing.run('findGaps');
    expect(await probing.gaps()).toMatchObject([{ evidence: { waiting: 1 }, state: 'open' }]);
  });
});

it('a bucket that can’t be listed is a gap since it last could', async () => {
  const { pool } = probing.receiver.database;
  const created = new Date(probing.apiserver.date.getTime() - 3_600_000).toISOString();
  await probing.rows(`update s3_scans set created_at = '${created}'`);
  await probing.run('findGaps');
  expect(await probing.gaps()).toEqual([]);
  const scan = await leaseScan(pool, { owner: 'test', seconds: 60, fullSeconds: 3600 });
  await releaseScan(pool, scan!, 60, denied);
  await probing.run('findGaps');
  expect(await probing.gaps()).toMatchObject([
    { cause: 'object_unread', evidence: { listing: 's3_access_denied' }, state: 'open' },
  ]);
  await probing.rows('update s3_scans set error = null, error_at = null');
  await probing.run('findGaps');
  expect(await probing.gaps()).toMatchObject([{ state: 'closed', closed_reason: 'read' }]);
});
