import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { cp, mkdtemp, rename } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import type { Pool } from 'pg';
import { inject } from 'vitest';
import { createPool } from '../../store/database.js';
import { onDatabase } from './database.js';

const SESSION = join(import.meta.dirname, '../fixtures/session/recording.ndjson.gz');
const BATCH = 400;
const LOCK_KEY = 4711;
const TEMPLATE = 'whochanged_session';
/** Of the template's data folder. */
const LOG = 'log-of-intake';

/** What of a stopped system is needed to start it again elsewhere: a database to clone, and a data folder to copy. */
export interface SessionLedger {
  template: string;
  folder: string;
  /** What it logged while it took the session in. */
  log: string;
}

/** A running system of which a template can be made. */
export interface FedSystem {
  folder: string;
  pool: Pool;
  log(): string;
  /** Stops it, and leaves its database and its folder. */
  halt(): Promise<void>;
}

/** The recorded session in posts as the apiserver sends them. */
export function sessionBodies(): string[] {
  const lines = gunzipSync(readFileSync(SESSION)).toString('utf8').trim().split('\n');
  const bodies: string[] = [];
  for (let at = 0; at < lines.length; at += BATCH) {
    const items = lines.slice(at, at + BATCH).join(',');
    bodies.push(`{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":[${items}]}`);
  }
  return bodies;
}

/**
 * The ledger of a system that was fed the session and stopped, made by the first who asks in this run. Taking the session
 * in takes five seconds of CPU, and a clone of what came of it none.
 */
export async function sessionLedger(feed: () => Promise<FedSystem>): Promise<SessionLedger> {
  const folder = join(inject('shared'), TEMPLATE);
  if (!existsSync(folder)) await make(folder, feed);
  return { template: TEMPLATE, folder, log: readFileSync(join(folder, LOG), 'utf8') };
}

/** By one process at a time: Postgres sees to it, since it is what they share. */
async function make(folder: string, feed: () => Promise<FedSystem>): Promise<void> {
  const server = createPool({
    ...onDatabase(inject('postgres'), 'postgres'),
    poolSize: 1,
    applicationName: 'test-admin',
  });
  // Kept all the while: a pool closes what is idle, and the lock would go with it.
  const admin = await server.connect();
  try {
    await admin.query('select pg_advisory_lock($1)', [LOCK_KEY]);
    if (existsSync(folder)) return;
    const system = await feed();
    const { rows } = await system.pool.query<{ name: string }>('select current_database() as name');
    await system.halt();
    await admin.query(`alter database ${rows[0]!.name} rename to ${TEMPLATE}`);
    await admin.query(`alter database ${TEMPLATE} allow_connections false`);
    writeFileSync(join(system.folder, LOG), system.log());
    await rename(system.folder, folder);
  } finally {
    admin.release();
    await server.end();
  }
}

/** A data folder of the test's own, with what the system that was fed left in its. */
export async function copyOfFolder(ledger: SessionLedger | undefined): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'whochanged-api-'));
  if (ledger) await cp(ledger.folder, folder, { recursive: true });
  return folder;
}
