import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadSegment } from '../../store/archive/load-segment.js';
import { findSegments } from '../../store/archive/segments.js';
import { createHold, releaseHold } from '../../store/holds.js';
import { dump, dumpBodies, openArchive, type TestArchive } from '../harness/archive.js';
import { askDuckdb, copyPlace } from '../harness/archive-copy.js';
import { Cluster, eventList } from '../harness/events.js';
import { startReceiver, type TestReceiver } from '../harness/receiver.js';
import { startS3, type TestS3 } from '../harness/s3.js';
import { type S3Proxy, startS3Proxy } from '../harness/s3-proxy.js';

const LATER = '2027-03-10T12:00:00Z';
const POLICY = ['read=7d', 'change=365d', 'rejected=365d'];
const TABLES = ['events', 'changes'] as const;

let receiver: TestReceiver;
let s3: TestS3;
let proxy: S3Proxy;
let target: TestArchive;
const cluster = new Cluster();
let sentOfWeb7: Array<Record<string, unknown>>;

const query = async (sql: string) => (await receiver.database.pool.query(sql)).rows;
const count = async (table: string) => Number((await query(`select count(*) from ${table}`))[0].count);
const states = async () =>
  (await query('select state from archive_segments order by id')).map((row) => row.state);

async function withClient<T>(work: (client: import('pg').ClientBase) => Promise<T>): Promise<T> {
  const client = await receiver.database.pool.connect();
  try {
    return await work(client);
  } finally {
    client.release();
  }
}

/** Puts every segment back, as questions do. */
async function loadAll(): Promise<void> {
  await withClient(async (client) => {
    for (const segment of await findSegments(client, 'true', []))
      await loadSegment(client, target.archive, segment);
  });
}

beforeAll(async () => {
  [receiver, s3] = await Promise.all([startReceiver(), startS3()]);
  proxy = await startS3Proxy(s3.endpoint);
  target = await openArchive(receiver, s3, proxy.endpoint);
  const events = [1, 2, 3].flatMap((image) =>
    Array.from({ length: 80 }, (_, i) =>
      cluster.deployment(image === 1 ? 'create' : 'update', `web-${i}`, {
        image: `web:${image}`,
        replicas: image,
      }),
    ),
  );
  events.push(cluster.deployment('delete', 'web-0', { image: 'web:3' }));
  sentOfWeb7 = events.filter(({ objectRef }) => (objectRef as { name: string }).name === 'web-7');
  const reads = Array.from({ length: 120 }, (_, i) =>
    cluster.event({
      level: 'Metadata',
      verb: 'get',
      requestURI: `/api/v1/namespaces/shop/configmaps/c-${i}`,
      objectRef: { resource: 'configmaps', namespace: 'shop', name: `c-${i}`, apiVersion: 'v1' },
    }),
  );
  await receiver.post(eventList([...events, ...reads]));
});
afterAll(async () => {
  await target.stop();
  await proxy.stop();
  await Promise.all([s3.stop(), receiver.stop()]);
});

describe('retention', () => {
  it('leaves alone what is younger than its class is kept, and what no policy names', async () => {
    expect(await target.retain(POLICY, '2026-03-05T12:00:00Z')).toBe(0);
    expect([await count('events'), await states()]).toEqual([361, []]);
  });

  it('keeps what it could not read back from the archive, and says why', async () => {
    proxy.treat(({ method, key }) =>
      method === 'GET' && key.endsWith('changes.parquet') ? { status: 403, code: 'AccessDenied' } : undefined,
    );
    await expect(target.retain(POLICY, LATER)).rejects.toThrow(
      /^1 segments could not go on: prod\/2026-03\/read-/,
    );
    expect(await count('events')).toBe(361);
    expect(await query('select state, error from archive_segments')).toEqual([
      { state: 'written', error: expect.stringContaining('changes.parquet') },
    ]);
    proxy.treat(() => undefined);
  });

  it('goes on where it broke off, and moves what is due, but versions that are in force', async () => {
    const before = Object.fromEntries(
      await Promise.all(TABLES.map(async (table) => [table, await dump(receiver, table)] as const)),
    );
    const bodies = await dumpBodies(receiver);
    expect(await target.retain(POLICY, LATER)).toBeGreaterThan(0);
    // 79 Deployments still are, each with its newest version.
    expect([await count('events'), await count('changes')]).toEqual([79, 79]);
    expect(new Set(await states())).toEqual(new Set(['archived']));
    expect(await query(`select distinct after_certainty, deleted from changes`)).toEqual([
      { after_certainty: 'exact', deleted: false },
    ]);
    expect(await target.retain(POLICY, LATER)).toBe(0);
    expect(await target.sweep()).toBeGreaterThan(100);
    expect(await target.sweep()).toBe(0);
    // What is left still has its bodies.
    const missing = await query(
      `select from changes c cross join lateral unnest(array[request_digest, response_digest, before_digest, after_digest]) d
        where d is not null and not exists (select from bodies b where b.cluster_id = c.cluster_id and b.digest = d)
          and d <> coalesce(c.before_digest, '')`,
    );
    expect(missing).toEqual([]);

    await loadAll();
    for (const table of TABLES) expect(await dump(receiver, table)).toEqual(before[table]);
    expect(await dumpBodies(receiver)).toEqual(bodies);
    // Questions over, it goes again.
    expect(await target.retain(POLICY, LATER)).toBeGreaterThan(0);
    expect([await count('events'), await count('changes')]).toEqual([79, 79]);
    await target.sweep();
  });

  it('writes files from which DuckDB answers as the documentation says, with the database out of the way', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'whochanged-archive-'));
    try {
      await copyPlace(s3, target.place, folder);
      const documented = (await readFile('docs/retention.md', 'utf8')).split('```sql\n')[1]!.split('```')[0]!;
      const statements = documented.split(';').filter((statement) => statement.trim() !== '');
      const answers = await askDuckdb(folder, [
        ...statements,
        'select count(*)::int as events, count(distinct (audit_id, stage))::int as distinct_events from events',
        `select name from changes where verb = 'delete'`,
      ]);
      const [changes, reads, total, deleted] = answers.slice(3);
      expect(total).toEqual([{ events: 361 - 79, distinct_events: 361 - 79 }]);
      // The third version is in force, and so in the database.
      expect(changes).toEqual(
        sentOfWeb7.slice(0, 2).map((event, i) => ({
          at: (event.requestReceivedTimestamp as string).replace('T', ' ').replace('Z', ''),
          cluster: 'prod',
          username: 'alice@example.com',
          user_agent: event.userAgent,
          verb: event.verb,
          audit_id: event.auditID,
          image: `web:${i + 1}`,
        })),
      );
      expect(reads).toEqual([
        { username: 'alice@example.com', resource: 'configmaps', namespace: 'shop', requests: '120' },
      ]);
      expect(deleted).toEqual([{ name: 'web-0' }]);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  it('drops nothing that a question needs', async () => {
    await loadAll();
    await query(`update archive_segments set asked_until = now() + interval '1 hour'`);
    expect(await target.retain(POLICY, LATER)).toBe(0);
    expect(await count('events')).toBe(361);
    await query('update archive_segments set asked_until = null');
    await target.retain(POLICY, LATER);
  });

  it('does not drop by an archive that was altered', async () => {
    await loadAll();
    const { Contents } = await s3.client.send(
      new (await import('@aws-sdk/client-s3')).ListObjectsV2Command({ Bucket: target.place.bucket }),
    );
    const key = Contents!.find(({ Key }) => Key!.includes('change-') && Key!.endsWith('events.parquet'))!
      .Key!;
    const { Body } = await s3.client.send(
      new (await import('@aws-sdk/client-s3')).GetObjectCommand({ Bucket: target.place.bucket, Key: key }),
    );
    const whole = Buffer.from(await Body!.transformToByteArray());
    const altered = Buffer.from(whole);
    altered[200] = altered[200]! ^ 1;
    await s3.put(target.place.bucket, key, altered);
    await expect(target.retain(POLICY, LATER)).rejects.toThrow('it is not the file that was written');
    expect(await count('events')).toBeGreaterThan(79);
    await s3.put(target.place.bucket, key, whole);
    await target.retain(POLICY, LATER);
    expect(await count('events')).toBe(79);
  });
});

describe('a body that was swept away', () => {
  it('is stored again when a new event holds it', async () => {
    const again = new Cluster();
    again.wait(40_000_000);
    const event = cluster.deployment('create', 'web-0', { image: 'web:1', replicas: 1 });
    await receiver.post(eventList([event]));
    await query(`insert into body_candidates select cluster_id, digest from bodies on conflict do nothing`);
    await target.sweep();
    const missing = await query(
      `select from changes c where after_digest is not null
          and not exists (select from bodies b where b.cluster_id = c.cluster_id and b.digest = c.after_digest)`,
    );
    expect(missing).toEqual([]);
  });
});

describe('a legal hold', () => {
  it('wins over every policy until it is released', async () => {
    const scope = {
      cluster: 'prod',
      namespace: 'shop',
      apiGroup: 'apps',
      resource: 'deployments',
      name: 'web-7',
    };
    const rest = { username: null, since: null, until: null };
    const hold = (await withClient((client) =>
      createHold(client, { ...scope, ...rest }, 'case 12', 'alice'),
    ))!;
    const ofWeb7 = `select count(*)::int from events e join objects o on o.id = e.object_id where o.name = 'web-7'`;
    await loadAll();
    await target.retain(POLICY, LATER);
    expect(await query(ofWeb7)).toEqual([{ count: 3 }]);
    expect(await query('select distinct name from changes group by name having count(*) > 1')).toEqual([
      { name: 'web-7' },
    ]);
    await withClient((client) => releaseHold(client, hold.id, 'case closed', 'alice'));
    await query('delete from retention_progress');
    await target.retain(POLICY, LATER);
    expect(await query(ofWeb7)).toEqual([{ count: 1 }]);
  });
});
