import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import type { StartedTestContainer } from 'testcontainers';
import type { TestProject } from 'vitest/node';
import { startEmbeddedPostgres } from '../../main/embedded-postgres.js';
import { createPool } from '../../store/database.js';
import { migrate } from '../../store/migrate.js';
import { onDatabase, TEMPLATE, type TestServer } from './database.js';

const CONTAINER_START_MS = 60_000;
/** Nothing here has to outlast a crash of the machine, so its log needn't tell whole pages: a cloned database makes a checkpoint. */
const SETTINGS = {
  fsync: 'off',
  full_page_writes: 'off',
  synchronous_commit: 'off',
  wal_level: 'minimal',
  max_wal_senders: '0',
  max_wal_size: '1GB',
};

declare module 'vitest' {
  interface ProvidedContext {
    postgres: TestServer;
    /** A folder that all files of this run share. */
    shared: string;
  }
}

interface RunningServer {
  connection: TestServer;
  stop(): Promise<void>;
}

/** One Postgres for the whole run, with a migrated template: in a container where an engine answers, else embedded. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const server = (await startContainer()) ?? (await startEmbedded());
  try {
    await createTemplate(server.connection);
  } catch (error) {
    await server.stop();
    throw error;
  }
  project.provide('postgres', server.connection);
  const shared = await mkdtemp(join(tmpdir(), 'whochanged-shared-'));
  project.provide('shared', shared);
  return async () => {
    await server.stop();
    await rm(shared, { recursive: true, force: true });
  };
}

async function createTemplate(server: TestServer): Promise<void> {
  const admin = createPool({ ...onDatabase(server, 'postgres'), poolSize: 1, applicationName: 'test-setup' });
  await admin.query(`create database ${TEMPLATE}`);
  const template = createPool({
    ...onDatabase(server, TEMPLATE),
    poolSize: 1,
    applicationName: 'test-setup',
  });
  await migrate(template);
  await template.end();
  // A template with a connection to it can't be cloned.
  await admin.query(`alter database ${TEMPLATE} allow_connections false`);
  const { rows } = await admin.query<{ server_version: string }>('show server_version');
  console.log(`tests use Postgres ${rows[0]?.server_version}`);
  await admin.end();
}

/**
 * Postgres in a container. The image is WHOCHANGED_TEST_POSTGRES_IMAGE, else postgres:18; one that was asked for by
 * name must start, while without an engine or the usual image the embedded Postgres serves.
 */
async function startContainer(): Promise<RunningServer | undefined> {
  const asked = process.env.WHOCHANGED_TEST_POSTGRES_IMAGE;
  const image = asked ?? 'postgres:18';
  try {
    // Loaded here, since it takes a while.
    const { GenericContainer, Wait, getContainerRuntimeClient } = await import('testcontainers');
    await getContainerRuntimeClient();
    const container = await new GenericContainer(image)
      .withEnvironment({ POSTGRES_PASSWORD: 'test', POSTGRES_USER: 'test', POSTGRES_DB: 'postgres' })
      .withExposedPorts(5432)
      .withWaitStrategy(Wait.forLogMessage(/database system is ready to accept connections/))
      .withStartupTimeout(CONTAINER_START_MS)
      .start();
    const connectionString = await answeringURL(container);
    console.log(`tests use a container of ${image}`);
    return { connection: { connectionString }, stop: async () => void (await container.stop()) };
  } catch (error) {
    if (asked !== undefined) throw error;
    console.log(
      `tests use the embedded Postgres, for want of a container: ${(error as Error).message.split('\n')[0]}`,
    );
    return undefined;
  }
}

/** Images start a first server to initialize it, which says that it is ready, and takes no connections from outside. */
async function answeringURL(container: StartedTestContainer): Promise<string> {
  const url = `postgres://test:test@${container.getHost()}:${container.getMappedPort(5432)}`;
  const pool = createPool({
    connectionString: `${url}/postgres`,
    poolSize: 1,
    applicationName: 'test-setup',
  });
  const until = Date.now() + CONTAINER_START_MS;
  try {
    for (;;) {
      try {
        await pool.query('select 1');
        return url;
      } catch (error) {
        if (Date.now() > until) throw error;
        await new Promise((done) => setTimeout(done, 100));
      }
    }
  } catch (error) {
    await container.stop();
    throw error;
  } finally {
    await pool.end();
  }
}

async function startEmbedded(): Promise<RunningServer> {
  const folder = await mkdtemp(join(tmpdir(), 'whochanged-test-'));
  // As root, Postgres runs under another account, which has to pass.
  await chmod(folder, 0o711);
  const postgres = await startEmbeddedPostgres(folder, pino({ level: 'silent' }), SETTINGS);
  const { host, port, user } = postgres.connection;
  return {
    connection: { host, port, user },
    stop: async () => {
      await postgres.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
