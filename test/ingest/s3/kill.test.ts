import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createApiToken } from '../../../store/api-tokens.js';
import { runCli } from '../../harness/cli.js';
import { startReceiver, type TestReceiver } from '../../harness/receiver.js';
import { addS3Source, startS3, type TestS3 } from '../../harness/s3.js';
import { deployments, ledgerCounts, lines, once, QUICK, rowOnce, settled } from '../../harness/s3-ledger.js';
import { type S3Proxy, startS3Proxy } from '../../harness/s3-proxy.js';
import { startSystem } from '../../harness/system.js';

let s3: TestS3;
let proxy: S3Proxy;
let survivor: TestReceiver;
let folder: string;
beforeAll(async () => {
  s3 = await startS3();
  proxy = await startS3Proxy(s3.endpoint);
  survivor = await startReceiver(QUICK);
  folder = await mkdtemp(join(tmpdir(), 'whochanged-killed-'));
});
afterAll(async () => {
  await survivor.stop();
  await proxy.stop();
  await s3.stop();
  await rm(folder, { recursive: true, force: true });
});

const EVENTS = 5000;

describe('whochanged under kill -9 in mid-object', () => {
  it('leaves what it committed, and another replica reads the rest: none lost, none twice', async () => {
    const bucket = await s3.createBucket();
    const body = lines(deployments(EVENTS, 'killed'));
    await s3.put(bucket, 'a.json', body);
    // Most of it comes, then nothing more, until the process is dead.
    let release = () => {};
    const until = new Promise<void>((done) => {
      release = done;
    });
    let reads = 0;
    proxy.treat(({ key }) =>
      key === 'a.json' && reads++ === 0 ? { cutAfter: Math.round(body.length * 0.8), until } : undefined,
    );
    const source = await addS3Source(survivor.database, proxy, { name: 'killed', bucket });
    const victim = await startSystem(folder, {
      ...QUICK,
      DATABASE_URL: survivor.database.url,
      WHOCHANGED_ROLES: 'ingest',
      WHOCHANGED_INGEST_THREADS: '0',
    });
    try {
      const half = await rowOnce(survivor, source, 'a.json', (row) => Number(row.stored) > 0);
      expect(half).toMatchObject({ state: 'leased', attempts: 1 });
    } finally {
      await victim.kill();
      release();
    }
    const before = await ledgerCounts(survivor, source);
    expect(before.events).toBeGreaterThan(0);
    expect(before.events).toBeLessThan(EVENTS);

    // Its lease ends.
    await survivor.database.pool.query(
      `update source_objects set due_at = now() where source_id = $1 and state = 'leased'`,
      [source],
    );
    survivor.ingest.s3.start();
    const [row] = await settled(survivor, source, 1);
    expect(row).toMatchObject({
      state: 'done',
      attempts: 2,
      events: String(EVENTS),
      stored: String(EVENTS),
      position: String(body.length),
    });
    expect(await ledgerCounts(survivor, source)).toEqual(once(EVENTS));
    // Each event names the object, whichever process stored it.
    const { rows } = await survivor.database.pool.query(
      `select count(*)::int as told from events e join source_object_parts p
          on p.cluster_id = e.cluster_id and e.seq >= p.seq_from and e.seq < p.seq_to
        where e.source_id = $1 and p.object_id = $2`,
      [source, row!.id],
    );
    expect(rows).toEqual([{ told: EVENTS }]);
  }, 120_000);
});

describe('whochanged under kill -9 in mid-import', () => {
  it('has what it committed; `whochanged import` waits for the dead one’s lease, and brings the rest', async () => {
    const environment = {
      DATABASE_URL: survivor.database.url,
      WHOCHANGED_ROLES: 'ingest,api',
      WHOCHANGED_INGEST_THREADS: '0',
      WHOCHANGED_S3_LEASE_SECONDS: '3',
    };
    const data = join(folder, 'importing');
    const file = join(folder, 'audit.log');
    const body = lines(deployments(EVENTS, 'imported'));
    await writeFile(file, body);
    const counts = async () => {
      const { rows } = await survivor.database.pool.query<{ id: number }>(
        `select id from sources where name = 'import-killed'`,
      );
      return rows[0] ? ledgerCounts(survivor, rows[0].id) : { events: 0, distinct: 0, changes: 0 };
    };
    const token = await createApiToken(survivor.database.pool, { name: 'importer', role: 'operator' });
    const victim = await startSystem(data, environment);
    const query = new URLSearchParams({
      cluster: 'killed',
      name: file,
      sha256: createHash('sha256').update(body).digest('hex'),
    });
    const post = request(`${victim.http}/v1/imports?${query}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/octet-stream' },
    });
    const broken = new Promise((resolve) => post.once('error', resolve));
    try {
      post.write(body.slice(0, Math.round(body.length * 0.8)));
      await expect
        .poll(async () => (await counts()).events, { timeout: 60_000, interval: 50 })
        .toBeGreaterThan(0);
    } finally {
      await victim.kill();
      await broken;
    }
    expect((await counts()).events).toBeLessThan(EVENTS);

    const next = await startSystem(data, environment);
    try {
      const { code, stdout } = await runCli(['import', file, '--cluster', 'killed', '-o', 'json'], {
        folder,
        env: { WHOCHANGED_URL: next.http, WHOCHANGED_TOKEN: token },
      });
      expect(code).toBe(0);
      const [item] = JSON.parse(stdout).items;
      expect(item).toMatchObject({ result: 'imported', events: EVENTS, quarantined: 0 });
      expect(item.duplicates).toBeGreaterThan(0);
    } finally {
      await next.stop();
    }
    expect(await counts()).toEqual(once(EVENTS));
  }, 120_000);
});
