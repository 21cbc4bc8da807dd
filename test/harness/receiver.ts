import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { type Config, readConfig } from '../../main/config.js';
import { type IngestRole, startIngest } from '../../main/ingest-role.js';
import { buildServer } from '../../main/server.js';
import { newSecret } from '../../store/api-tokens.js';
import { createSource } from '../../store/sources.js';
import { createTestDatabase, type TestDatabase } from './database.js';

export interface TestReceiver {
  database: TestDatabase;
  server: FastifyInstance;
  ingest: IngestRole;
  folder: string;
  /** Of the source `prod-a` of cluster `prod`. */
  token: string;
  post(
    body: string | Buffer,
    headers?: Record<string, string>,
    source?: string,
  ): Promise<{ status: number; body: Record<string, unknown> }>;
  /** As Prometheus reads them. */
  metrics(): Promise<string>;
  stop(): Promise<void>;
}

/** The real receiver over a database of its own, with one source; or another replica over the database of one. */
export async function startReceiver(
  environment: Record<string, string> = {},
  replicaOf?: TestReceiver,
): Promise<TestReceiver> {
  const database = replicaOf?.database ?? (await createTestDatabase());
  const folder = await mkdtemp(join(tmpdir(), 'whochanged-receiver-'));
  const config: Config = readConfig({
    WHOCHANGED_DATA_DIR: folder,
    WHOCHANGED_INGEST_THREADS: '0',
    ...environment,
  });
  const secret = replicaOf?.token ?? (await addSource(database));
  const log = pino({ level: 'silent' });
  const registry = new Registry();
  const ingest = await startIngest(config, database.pool, registry, log, () => undefined);
  const server = await buildServer({
    log,
    tls: undefined,
    timeouts: config.timeouts,
    webhook: ingest.webhook,
    registerApi: undefined,
  });
  return {
    database,
    server,
    ingest,
    folder,
    token: secret,
    post: async (body, headers = {}, source = 'prod-a') => {
      const response = await server.inject({
        method: 'POST',
        url: `/ingest/v1/audit/${source}?timeout=30s`,
        headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json', ...headers },
        payload: body,
      });
      return { status: response.statusCode, body: response.json() };
    },
    metrics: () => registry.metrics(),
    stop: async () => {
      await server.close();
      await ingest.stop();
      if (!replicaOf) await database.drop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Adds a source to a cluster, behind the back of all receivers. Returns its token. */
export async function addSource(database: TestDatabase, name = 'prod-a', cluster = 'prod'): Promise<string> {
  const { secret, sha256 } = newSecret('wcs');
  const client = await database.pool.connect();
  await createSource(client, { name, cluster, secretSha256: sha256 });
  client.release();
  return secret;
}
