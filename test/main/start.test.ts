import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, inject, it, onTestFinished } from 'vitest';
import { readConfig } from '../../main/config.js';
import { createLogger } from '../../main/log.js';
import { start } from '../../main/start.js';
import { createPool } from '../../store/database.js';
import { createEmptyDatabase, onDatabase } from '../harness/database.js';

it('makes the first token and source once a Postgres that was away at the start is there', async () => {
  const database = await createEmptyDatabase();
  onTestFinished(database.drop);
  const folder = await mkdtemp(join(tmpdir(), 'whochanged-start-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const admin = createPool({
    ...onDatabase(inject('postgres'), 'postgres'),
    poolSize: 1,
    applicationName: 'test',
  });
  onTestFinished(() => admin.end());
  const name = new URL(database.url).pathname.slice(1);
  await admin.query(`alter database ${name} allow_connections false`);

  const said: string[] = [];
  let logged = '';
  const config = readConfig({
    WHOCHANGED_DATA_DIR: folder,
    DATABASE_URL: database.url,
    WHOCHANGED_HTTP_HOST: '0.0.0.0',
    WHOCHANGED_HTTP_ALLOW_REMOTE: 'true',
    WHOCHANGED_HTTP_PORT: '0',
    WHOCHANGED_HTTPS_PORT: '0',
    WHOCHANGED_HTTPS_HOST: '127.0.0.1',
  });
  const log = createLogger('info', { write: (line: string) => (logged += line) });
  let fatal: unknown;
  const system = await start(
    config,
    log,
    (error) => (fatal = error),
    (text) => said.push(text),
  );
  onTestFinished(system.stop);
  expect(said).toEqual([expect.stringContaining('Postgres is away')]);
  expect(existsSync(join(folder, 'admin-token'))).toBe(false);

  await admin.query(`alter database ${name} allow_connections true`);
  await expect.poll(() => said.length, { timeout: 30_000 }).toBe(2);
  const token = (await readFile(join(folder, 'admin-token'), 'utf8')).trim();
  expect(said[1]).toContain(token);
  expect(said[1]).toContain(join(folder, 'webhook-kubeconfig.yaml'));
  expect(said[1]).toMatch(/npx whochanged --since 30m/);
  // One can ask at the address that is told.
  const address = /up at (\S+)/.exec(said[1]!)![1]!;
  const answer = await fetch(`${address}/v1/sources`, { headers: { authorization: `Bearer ${token}` } });
  expect(await answer.json()).toMatchObject({ items: [{ name: 'default' }] });
  expect(logged).not.toContain('relation');
  expect(fatal).toBeUndefined();
});

it('tells its health and its metrics whatever its role, and answers questions only where it has that of the API', async () => {
  const database = await createEmptyDatabase();
  onTestFinished(database.drop);
  const folder = await mkdtemp(join(tmpdir(), 'whochanged-start-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const config = readConfig({
    WHOCHANGED_DATA_DIR: folder,
    DATABASE_URL: database.url,
    WHOCHANGED_ROLES: 'jobs',
    WHOCHANGED_HTTP_PORT: '0',
    WHOCHANGED_HTTPS_PORT: '0',
    WHOCHANGED_HTTPS_HOST: '127.0.0.1',
  });
  const system = await start(config, createLogger('silent'), () => undefined);
  onTestFinished(system.stop);
  const headers = {
    authorization: `Bearer ${(await readFile(join(folder, 'admin-token'), 'utf8')).trim()}`,
  };
  const ask = (path: string) => fetch(`${system.urls.http}${path}`, { headers });
  expect((await fetch(`${system.urls.http}/healthz`)).status).toBe(200);
  expect((await fetch(`${system.urls.http}/metrics`)).status).toBe(401);
  expect(await (await ask('/metrics')).text()).toMatch(/^whochanged_jobs_leader [01]$/m);
  expect(await (await ask('/v1/status')).json()).toMatchObject({ roles: ['jobs'] });
  expect((await ask('/v1/changes')).status).toBe(404);
  expect((await ask('/ingest/v1/audit/default')).status).toBe(404);
});

it('ends though somebody keeps a request open that never comes to its end', async () => {
  const database = await createEmptyDatabase();
  onTestFinished(database.drop);
  const folder = await mkdtemp(join(tmpdir(), 'whochanged-start-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const config = readConfig({
    WHOCHANGED_DATA_DIR: folder,
    DATABASE_URL: database.url,
    WHOCHANGED_HTTP_PORT: '0',
    WHOCHANGED_HTTPS_PORT: '0',
    WHOCHANGED_HTTPS_HOST: '127.0.0.1',
  });
  const system = await start(config, createLogger('silent'), () => undefined);
  const token = (await readFile(join(folder, 'admin-token'), 'utf8')).trim();
  const socket = connect(Number(new URL(system.urls.http).port), '127.0.0.1');
  onTestFinished(() => void socket.destroy());
  const closed = new Promise((done) => socket.once('close', done).once('error', done));
  socket.write(
    `POST /v1/imports?cluster=c&name=n&sha256=${'0'.repeat(64)}&size=100 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${token}\r\n` +
      'content-type: application/octet-stream\r\ncontent-length: 100\r\n\r\nhalf',
  );
  await new Promise((done) => setTimeout(done, 500));
  await system.stop();
  await closed;
});
