import { readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createTestDatabase, type TestDatabase } from './database.js';
import { type RunningSystem, startSystem, webhookToken } from './system.js';

/** The real program in a process of its own, to be maltreated. */
export interface HostileTarget {
  system: RunningSystem;
  database: TestDatabase;
  folder: string;
  adminToken: string;
  sourceToken: string;
  /** Resident memory of the process, in MiB. */
  memory(): { now: number; highest: number };
  /** @throws unless it runs, and answers an honest question honestly. */
  mustBeWell(): Promise<void>;
  stop(): Promise<void>;
}

export async function startTarget(environment: Record<string, string> = {}): Promise<HostileTarget> {
  const database = await createTestDatabase();
  const folder = await mkdtemp(join(tmpdir(), 'whochanged-fuzz-'));
  const settings = {
    DATABASE_URL: database.url,
    WHOCHANGED_API_FAILED_LOGINS_PER_MINUTE: '1000000',
    WHOCHANGED_API_REQUESTS_PER_MINUTE: '1000000',
    WHOCHANGED_LOG_LEVEL: 'debug',
    ...environment,
  };
  // Run from the sources, a compiler lies in the memory that is measured.
  const system = await startSystem(folder, settings, 'build');
  const adminToken = (await readFile(join(folder, 'admin-token'), 'utf8')).trim();
  return {
    system,
    database,
    folder,
    adminToken,
    sourceToken: await webhookToken(folder),
    memory: () => {
      const status = readFileSync(`/proc/${system.child.pid}/status`, 'utf8');
      const mib = (name: string) => Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)![1]) / 1024;
      return { now: mib('VmRSS'), highest: mib('VmHWM') };
    },
    mustBeWell: async () => {
      if (system.child.exitCode !== null) throw new Error(`it ended: ${system.output().slice(-4000)}`);
      const response = await fetch(`${system.http}/v1/whoami`, {
        headers: { authorization: `Bearer ${adminToken}` },
      });
      const answer = (await response.json()) as { name?: string };
      if (response.status !== 200 || Object.keys(answer).length < 2)
        throw new Error(`whoami: ${response.status} ${JSON.stringify(answer)}`);
    },
    stop: async () => {
      await system.stop();
      await database.drop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
