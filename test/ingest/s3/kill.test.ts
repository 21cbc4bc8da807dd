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

/** Four fifths are more than one part (ingest/parts.ts). */
const EVENTS = 3000;
/** Of those that are killed. The others' are longer: on a busy machine a short one ends while its holder lives. */
const LEASE_SECONDS = '5';

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
      WHOCHANGED_S3_LEASE_SECONDS: LEASE_SECONDS,
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

    // Its lease ends by itself.
    survivor.ingest.s3.start();
    const [row] = await settled(survivor, source, 1);
    expect(await survivor.metrics()).toContain('whochanged_s3_lease_expiries_total 1\n');
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

describe('whochanged under kill -9 in mid-import and mid-backfill', () => {
  it('has what it committed; the same import waits for the dead one’s lease and brings the rest, and the backfill goes on', async () => {
    // Whatever is read is read by what is killed.
    await survivor.ingest.s3.stop();
    const environment = {
      DATABASE_URL: survivor.database.url,
      WHOCHANGED_ROLES: 'ingest,api',
      WHOCHANGED_INGEST_THREADS: '0',
      WHOCHANGED_S3_LEASE_SECONDS: LEASE_SECONDS,
    };
    const data = join(folder, 'importing');
    const file = join(folder, 'audit.log');
    const body = lines(deployments(EVENTS, 'imported'));
    await writeFile(file, body);
    const stored = lines(deployments(EVENTS, 'stored'));
    const bucket = await s3.createBucket();
    await s3.put(bucket, 'a.json', lines(deployments(2, 'small')));
    await s3.put(bucket, 'b.json', stored);
    let release = () => {};
    const until = new Promise<void>((done) => {
      release = done;
    });
    let reads = 0;
    proxy.treat(({ key }) =>
      key === 'b.json' && reads++ === 0 ? { cutAfter: Math.round(stored.length * 0.8), until } : undefined,
    );
    const counts = async (source: string) => {
      const { rows } = await survivor.database.pool.query<{ id: number }>(
        'select id from sources where name = $1',
        [source],
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
    const run = async (url: string, ...args: string[]) => {
      const env = { WHOCHANGED_URL: url, WHOCHANGED_TOKEN: token };
      const { code, stdout, stderr } = await runCli(args, { folder, env });
      expect(stderr).not.toContain('whochanged:');
      expect(code).toBe(0);
      return stdout;
    };
    const backfill = ['backfill', `s3://${bucket}`, '--cluster', 'refilled', '--name', 'refilled'];
    const there = ['--endpoint', proxy.endpoint, '--path-style'];
    let begun: string;
    try {
      post.write(body.slice(0, Math.round(body.length * 0.8)));
      begun = await run(victim.http, ...backfill, ...there, '--detach');
      for (const source of ['import-killed', 'refilled'])
        await expect
          .poll(async () => (await counts(source)).events, { timeout: 60_000, interval: 50 })
          .toBeGreaterThan(2);
    } finally {
      await victim.kill();
      release();
      await broken;
    }
    expect((await counts('import-killed')).events).toBeLessThan(EVENTS);
    expect((await counts('refilled')).events).toBeLessThan(EVENTS);

    const next = await startSystem(data, environment);
    try {
      const imported = await run(next.http, 'import', file, '--cluster', 'killed', '-o', 'json');
      const [item] = JSON.parse(imported).items;
      expect(item).toMatchObject({ result: 'imported', events: EVENTS, quarantined: 0 });
      expect(item.duplicates).toBeGreaterThan(0);
      // Nobody has to ask for a backfill again.
      await expect
        .poll(async () => JSON.parse(await run(next.http, 'backfill', 'list', '-o', 'json')).items, {
          timeout: 60_000,
        })
        .toMatchObject([{ id: Number(begun), state: 'done', found: 2, events: EVENTS + 2, quarantined: 0 }]);
    } finally {
      await next.stop();
    }
    expect(await counts('import-killed')).toEqual(once(EVENTS));
    expect(await counts('refilled')).toEqual(once(EVENTS + 2));
  }, 120_000);
});
