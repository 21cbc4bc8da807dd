import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import type { TestProject } from 'vitest/node';
import { startEmbeddedPostgres } from '../../main/embedded-postgres.js';
import { createPool } from '../../store/database.js';
import { migrate } from '../../store/migrate.js';
import { TEMPLATE } from './database.js';

declare module 'vitest' {
  interface ProvidedContext {
    postgres: { connectionString?: string; host?: string; user?: string };
  }
}

/** One Postgres for the whole run, with a migrated template: in a container where an engine answers, else embedded. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const server = (await startContainer()) ?? (await startEmbedded());
  const pool = createPool({
    ...server.connection,
    database: 'postgres',
    poolSize: 1,
    applicationName: 'test-setup',
  });
  await pool.query(`create database ${TEMPLATE}`);
  await pool.end();
  const template = createPool({
    ...server.connection,
    database: TEMPLATE,
    poolSize: 2,
    applicationName: 'test-setup',
  });
  await migrate(template);
  await template.end();
  project.provide('postgres', server.connection);
  return server.stop;
}

interface Server {
  connection: { connectionString?: string; host?: string; user?: string };
  stop: () => Promise<void>;
}

async function startContainer(): Promise<Server | undefined> {
  const image = process.env.WHOCHANGED_TEST_POSTGRES_IMAGE ?? 'postgres:18';
  try {
    const { GenericContainer, Wait, getContainerRuntimeClient } = await import('testcontainers');
    await getContainerRuntimeClient();
    const container = await new GenericContainer(image)
      .withEnvironment({ POSTGRES_PASSWORD: 'test', POSTGRES_USER: 'test', POSTGRES_DB: 'postgres' })
      .withExposedPorts(5432)
      .withWaitStrategy(Wait.forLogMessage(/database system is ready to accept connections/, 2))
      .withStartupTimeout(60_000)
      .start();
    const connectionString = `postgres://test:test@${container.getHost()}:${container.getMappedPort(5432)}`;
    console.log(`tests use Postgres in a container (${image})`);
    return { connection: { connectionString }, stop: async () => void (await container.stop()) };
  } catch (error) {
    console.log(`tests use the embedded Postgres: ${(error as Error).message.split('\n')[0]}`);
    return undefined;
  }
}

async function startEmbedded(): Promise<Server> {
  const folder = await mkdtemp(join(tmpdir(), 'whochanged-test-'));
  const { chmod } = await import('node:fs/promises');
  await chmod(folder, 0o711);
  const postgres = await startEmbeddedPostgres(folder, pino({ level: 'silent' }));
  return {
    connection: { host: postgres.connection.host, user: postgres.connection.user },
    stop: async () => {
      await postgres.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
