import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createPool } from '../../store/database.js';
import { Cluster, eventList } from '../harness/events.js';
import { pause } from '../harness/process-group.js';
import { type RunningSystem, startSystem, webhookToken } from '../harness/system.js';

let folder: string;
let system: RunningSystem;
let token: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whochanged-faults-'));
  await chmod(folder, 0o711);
  system = await startSystem(folder);
  token = await webhookToken(folder);
});
afterAll(async () => {
  await system.stop();
  await rm(folder, { recursive: true, force: true });
});

/** Posts like client-go: every error is tried again, up to a limit. */
async function post(body: string): Promise<{ spooled: number }> {
  for (let attempt = 0; attempt < 400; attempt++) {
    try {
      const response = await fetch(`${system.http}/ingest/v1/audit/default?timeout=30s`, {
        method: 'POST',
        body,
        headers: { authorization: `Bearer ${token}` },
      });
      if (response.ok) return (await response.json()) as { spooled: number };
    } catch {
      // The connection broke: the answer, if there was one, is lost.
    }
    await new Promise((done) => setTimeout(done, 250));
  }
  throw new Error(`no acknowledgement:\n${system.output().slice(-3000)}`);
}

async function postmasterPid(): Promise<number> {
  return Number((await readFile(join(folder, 'postgres/pgdata/postmaster.pid'), 'utf8')).split('\n')[0]);
}

async function counts(): Promise<{ events: number; distinct: number; changes: number }> {
  const pool = createPool({
    host: join(folder, 'postgres/run'),
    user: 'whochanged',
    database: 'postgres',
    poolSize: 1,
    applicationName: 'test',
  });
  pool.on('error', () => undefined);
  try {
    const { rows } = await pool.query(
      'select count(*)::int as events, count(distinct digest)::int as distinct, (select count(*)::int from changes) as changes from events',
    );
    return rows[0];
  } finally {
    await pool.end();
  }
}

describe('whochanged under kill -9', () => {
  it('loses no acknowledged event and stores none twice, whoever is killed', async () => {
    const cluster = new Cluster();
    const batches = Array.from({ length: 120 }, (_, batch) =>
      eventList(
        Array.from({ length: 20 }, (_, i) =>
          cluster.deployment('create', `app-${batch}-${i}`, { image: `web:${i}` }),
        ),
      ),
    );
    let spooled = 0;
    const queue = [...batches];
    const senders = Array.from({ length: 4 }, async () => {
      for (let body = queue.shift(); body !== undefined; body = queue.shift())
        spooled += (await post(body)).spooled;
    });
    const reached = async (sent: number) => {
      while (batches.length - queue.length < sent) await new Promise((done) => setTimeout(done, 5));
    };
    await reached(20);
    process.kill(await postmasterPid(), 'SIGKILL');
    await reached(60);
    await system.kill();
    system = await startSystem(folder, { WHOCHANGED_HTTP_PORT: new URL(system.http).port });
    await reached(90);
    process.kill(await postmasterPid(), 'SIGKILL');
    await Promise.all(senders);
    // What went to the spool arrives by itself.
    await expect
      .poll(async () => (await counts().catch(() => ({ events: 0 }))).events, { timeout: 20_000 })
      .toBe(2400);
    expect(await counts()).toEqual({ events: 2400, distinct: 2400, changes: 2400 });
    expect(spooled).toBeGreaterThan(0);
    await expect
      .poll(async () => (await readdir(join(folder, 'spool'))).filter((name) => name.endsWith('.spool')))
      .toEqual([]);
  }, 240_000);

  it.skipIf(process.platform !== 'linux')(
    'spools while Postgres hangs without breaking a connection',
    async () => {
      const before = (await counts()).events;
      const cluster = new Cluster();
      const resume = pause(await postmasterPid());
      try {
        const posted = Array.from({ length: 3 }, (_, i) =>
          post(eventList([cluster.deployment('create', `frozen-${i}`, { image: 'web:1' })])),
        );
        for (const { spooled } of await Promise.all(posted)) expect(spooled).toBe(1);
      } finally {
        resume();
      }
      await expect
        .poll(async () => (await counts().catch(() => ({ events: 0 }))).events, { timeout: 30_000 })
        .toBe(before + 3);
    },
    90_000,
  );
});
