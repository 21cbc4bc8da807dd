import { readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Pool } from 'pg';
import { readConfig } from '../../main/config.js';
import { createLogger } from '../../main/log.js';
import { start } from '../../main/start.js';
import { type CliResult, runCli } from './cli.js';
import { createTestDatabase } from './database.js';
import { copyOfFolder, type SessionLedger, sessionBodies, sessionLedger } from './session-ledger.js';
import { webhookToken } from './system.js';

export interface RunningApi {
  http: string;
  https: string;
  /** The data folder: admin-token, webhook-kubeconfig.yaml, tls/. */
  folder: string;
  adminToken: string;
  /** Of its database. */
  databaseURL: string;
  pool: Pool;
  /** Asks the database itself. */
  query(sql: string): Promise<unknown>;
  /** Of the source `default` of cluster `default`. */
  sourceToken: string;
  /** Everything logged so far. */
  log(): string;
  /** Posts an EventList to the webhook, as the apiserver of the source does. */
  post(body: string): Promise<Record<string, number>>;
  /** Runs the command line with the admin token. */
  cli(args: string[], env?: Record<string, string>): Promise<CliResult>;
  /** Stops it, and leaves its database and its folder. */
  halt(): Promise<void>;
  stop(): Promise<void>;
}

/** The whole system in this process, on ports of its own, over a database of its own; `environment` is set besides. */
export function startApi(environment: Record<string, string> = {}): Promise<RunningApi> {
  return startOver(undefined, environment);
}

/** The same, once it was fed the recorded session: what controllers did is traced to its causes, and judged. */
export async function startApiWithSession(environment: Record<string, string> = {}): Promise<RunningApi> {
  const ledger = await sessionLedger(async () => {
    const api = await startApi();
    await feedSession(api);
    return api;
  });
  return startOver(ledger, environment);
}

async function startOver(
  ledger: SessionLedger | undefined,
  environment: Record<string, string>,
): Promise<RunningApi> {
  const database = await createTestDatabase(ledger?.template);
  const folder = await copyOfFolder(ledger);
  let logged = ledger?.log ?? '';
  const write = (line: string) => {
    logged += line;
  };
  const log = createLogger('debug', { write });
  const config = readConfig({
    WHOCHANGED_DATA_DIR: folder,
    DATABASE_URL: database.url,
    WHOCHANGED_HTTP_PORT: '0',
    WHOCHANGED_HTTPS_PORT: '0',
    WHOCHANGED_HTTPS_HOST: '127.0.0.1',
    // Tests ask for what is refused, more often than people may.
    WHOCHANGED_API_FAILED_LOGINS_PER_MINUTE: '1000000',
    // A thread costs a second of CPU to start from the sources, and does what is done without: threads.test.ts.
    WHOCHANGED_INGEST_THREADS: '0',
    ...environment,
  });
  let fatal: unknown;
  const system = await start(config, log, (error) => {
    fatal = error;
  });
  if (fatal) throw fatal;
  const { http, https } = system.urls;
  const adminToken = readFileSync(join(folder, 'admin-token'), 'utf8').trim();
  const sourceToken = await webhookToken(folder);
  return {
    http,
    https,
    folder,
    adminToken,
    databaseURL: database.url,
    pool: database.pool,
    query: (sql) => database.pool.query(sql),
    sourceToken,
    log: () => logged,
    post: (body) => send(`${http}/ingest/v1/audit/default`, sourceToken, body),
    cli: (args, env = {}) =>
      runCli(args, { folder, env: { WHOCHANGED_URL: http, WHOCHANGED_TOKEN: adminToken, ...env } }),
    halt: async () => {
      await system.stop();
      await database.leave();
    },
    stop: async () => {
      await system.stop();
      await database.drop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Feeds the recorded session through the webhook. */
export async function postSession(api: RunningApi): Promise<void> {
  for (const body of sessionBodies()) await api.post(body);
}

/** The same, with what controllers did traced to its causes, and judged. */
export async function feedSession(api: RunningApi): Promise<void> {
  await postSession(api);
  // In the order in which they build on each other.
  for (const job of ['attribute', 'links', 'verdicts']) await runJob(api, job);
}

/** Runs a job now. 409: it is at work already, as attribution is after each batch; then it has to be waited for. */
export async function runJob(api: RunningApi, job: string): Promise<void> {
  for (let attempt = 0; attempt < 300; attempt++) {
    const response = await fetch(`${api.http}/v1/jobs/${job}/run`, {
      method: 'POST',
      headers: { authorization: `Bearer ${api.adminToken}` },
    });
    if (response.ok) return;
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error(`the job ${job} did not end`);
}

async function send(url: string, token: string, body: string): Promise<Record<string, number>> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body,
  });
  const answer = (await response.json()) as Record<string, number>;
  if (!response.ok) throw new Error(`${url}: ${JSON.stringify(answer)}`);
  return answer;
}
