import { spawn } from 'node:child_process';
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, it } from 'vitest';
import { createPool } from '../../store/database.js';
import { freePort } from '../harness/free-port.js';
import { type RunningSystem, startSystem } from '../harness/system.js';
import { type LiveCluster, startCluster } from './live-cluster.js';
import { addSource, adminToken, eventsStored, eventsTold } from './live-ledger.js';
import { type ActionTime, readActions } from './session/actions.js';
import { compareAction, compareDerived, findAnswers } from './session/judge.js';

/**
 * A real kube-apiserver posts to whochanged while the session is acted out against it, and whochanged and its Postgres
 * are killed in between. Runs where WHOCHANGED_E2E_BIN names a folder with kube-apiserver and kube-controller-manager;
 * etcd, kubectl and openssl may stand there or on the PATH. Takes about four minutes.
 */
const BIN = process.env.WHOCHANGED_E2E_BIN;
const ACTIONS = join(import.meta.dirname, '../fixtures/session/actions.yaml');

describe.skipIf(!BIN)('a live cluster', () => {
  let folder: string;
  let system: RunningSystem | undefined;
  let cluster: LiveCluster | undefined;
  afterAll(async () => {
    await cluster?.stop();
    await system?.stop();
    if (folder && !process.env.WHOCHANGED_E2E_KEEP) await rm(folder, { recursive: true, force: true });
  }, 60_000);

  it('is told of whole and right, though whochanged and Postgres are killed meanwhile', async () => {
    folder = await mkdtemp(join(tmpdir(), 'whochanged-e2e-'));
    await chmod(folder, 0o711);
    const data = join(folder, 'data');
    // The same ports after each restart, since the apiserver knows them.
    const ports = {
      WHOCHANGED_HTTP_PORT: String(await freePort()),
      WHOCHANGED_HTTPS_PORT: String(await freePort()),
    };
    system = await startSystem(data, ports);
    const webhook = await addSource(system, data);
    cluster = await startCluster({ bin: BIN!, folder: join(folder, 'cluster'), webhookKubeconfig: webhook });
    // What the controllers make at the beginning is no part of the session.
    await sleep(4000);

    const { stillRuns } = cluster;
    const session = actOut(cluster.kubeconfig, join(folder, 'times.json')).catch(async (error) => {
      await stillRuns();
      throw error;
    });
    // It is awaited below, after the kills.
    session.catch(() => undefined);
    await sleep(40_000);
    await system.kill();
    system = await startSystem(data, ports);
    await sleep(30_000);
    process.kill(await postmasterPid(data), 'SIGKILL');
    await session;
    await stillRuns();
    await sleep(3000);
    await cluster.stop();

    const told = await eventsTold(cluster.auditLog);
    const pool = createPool({
      host: join(data, 'postgres/run'),
      user: 'whochanged',
      database: 'postgres',
      poolSize: 2,
      applicationName: 'test',
    });
    try {
      const stored = async () => eventsStored(pool).catch(() => []);
      await expect
        .poll(async () => (await stored()).length, { timeout: 90_000, interval: 1000 })
        .toBe(told.length);
      expect((await stored()).sort()).toEqual(told.sort());
      expect(told.length).toBeGreaterThan(3000);
      console.log(`${told.length} events in the apiserver's own log, and the very same in the ledger`);

      await attributed(system, data);
      const file = readActions(ACTIONS);
      const times = JSON.parse(await readFile(join(folder, 'times.json'), 'utf8')) as ActionTime[];
      const answers = await findAnswers(pool);
      const wrong = file.actions.flatMap((action) => [
        ...compareAction(file, times, answers, action).map((problem) => `${action.id}: ${problem}`),
        ...(action.derived ?? []).flatMap((derived) => {
          const problem = compareDerived(times, answers, action, derived);
          return problem === undefined ? [] : [`${action.id}, what followed: ${problem}`];
        }),
      ]);
      expect(wrong).toEqual([]);
      console.log(`${file.actions.length} actions told right`);
    } finally {
      await pool.end();
    }
  }, 600_000);
});

function actOut(kubeconfig: string, times: string): Promise<void> {
  const script = join(import.meta.dirname, 'session/run-session.ts');
  const child = spawn(process.execPath, ['--import', 'tsx', script, ACTIONS, times], {
    env: { ...process.env, KUBECONFIG: kubeconfig, PATH: `${BIN}:${process.env.PATH}` },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-2000);
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) =>
      code === 0 ? resolve() : reject(new Error(`the session ended with ${code}: ${said}`)),
    );
  });
}

async function postmasterPid(data: string): Promise<number> {
  return Number((await readFile(join(data, 'postgres/pgdata/postmaster.pid'), 'utf8')).split('\n')[0]);
}

/** Waits until the jobs have caught up. */
async function attributed(system: RunningSystem, data: string): Promise<void> {
  for (let attempt = 0; attempt < 60; attempt++) {
    const response = await fetch(`${system.http}/v1/jobs/attribute/run`, {
      method: 'POST',
      headers: { authorization: `Bearer ${await adminToken(data)}` },
    });
    if (response.ok) return;
    await sleep(500);
  }
  throw new Error('the jobs did not catch up');
}
