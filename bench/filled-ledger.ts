import { chmod, mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Pool } from 'pg';
import { createPool } from '../store/database.js';
import { startSystem, webhookToken } from '../test/harness/system.js';
import { fillLedger } from './fill.js';
import { Traffic } from './traffic.js';

/** What is sent to a ledger for real; the rest are copies of it. */
export const SESSIONS = 10;

/** The embedded Postgres of a data folder, while a process of ours keeps it running. */
export function poolOf(folder: string, database = 'postgres'): Pool {
  return createPool({
    host: join(folder, 'postgres/run'),
    user: 'whochanged',
    database,
    poolSize: 2,
    applicationName: 'bench',
  });
}

/** Makes a data folder with a ledger of so many events, with all that the jobs make of them; one that is there stays. */
export async function fillFolder(folder: string, events: number): Promise<void> {
  await mkdir(folder, { recursive: true });
  await chmod(folder, 0o711);
  if (!(await readFile(join(folder, 'admin-token')).catch(() => undefined)))
    await ingestSessions(folder, SESSIONS);
  // Without jobs: they would go through all that is filled in.
  const system = await startSystem(folder, { WHOCHANGED_ROLES: 'api' }, 'build');
  const pool = poolOf(folder);
  const { rows } = await pool.query('select count(*)::int as count from events');
  if (rows[0].count < events) await fillLedger(pool, events, (text) => process.stderr.write(`${text}\n`));
  await pool.end();
  await system.stop();
}

/** Sends so many sessions of traffic to a ledger in this folder, and lets the jobs attribute what controllers did. */
export async function ingestSessions(folder: string, sessions: number): Promise<void> {
  await chmod(folder, 0o711);
  const system = await startSystem(folder);
  const token = await webhookToken(folder);
  const traffic = new Traffic();
  for (const { body } of traffic.batches(Array(sessions).keys())) {
    const answer = await fetch(`${system.http}/ingest/v1/audit/default`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
      body,
    });
    if (!answer.ok) throw new Error(await answer.text());
  }
  const admin = (await readFile(join(folder, 'admin-token'), 'utf8')).trim();
  for (let busy = true; busy; await sleep(500)) {
    const answer = await fetch(`${system.http}/v1/jobs/attribute/run`, {
      method: 'POST',
      headers: { authorization: `Bearer ${admin}` },
    });
    busy = answer.status === 409;
  }
  await system.stop();
}
