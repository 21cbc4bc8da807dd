import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { migrate, migrationsFolder } from '../../store/migrate.js';
import { createEmptyDatabase, type TestDatabase } from '../harness/database.js';
import { programArguments } from '../harness/program.js';

let database: TestDatabase;
let folder: string;
beforeEach(async () => {
  database = await createEmptyDatabase();
  folder = await mkdtemp(join(tmpdir(), 'whochanged-migrations-'));
});
afterEach(async () => {
  await database.drop();
  await rm(folder, { recursive: true });
});

async function write(files: Record<string, string>): Promise<void> {
  for (const [name, sql] of Object.entries(files)) await writeFile(join(folder, name), sql);
}

async function rows(sql: string): Promise<unknown[]> {
  return (await database.pool.query(sql)).rows;
}

describe('migrate', () => {
  it('applies the real migrations to an empty database, once', async () => {
    const applied = await migrate(database.pool, migrationsFolder());
    expect(applied[0]).toBe('001-ledger.sql');
    expect(await migrate(database.pool, migrationsFolder())).toEqual([]);
    expect(await rows('select name from schema_migrations order by name')).toEqual(
      applied.map((name) => ({ name })),
    );
  });

  it('applies files in the order of their numbers, and what is new later', async () => {
    await write({
      '002-b.sql': 'insert into t values (2)',
      '001-a.sql': 'create table t (n int); insert into t values (1)',
      'notes.sql': 'broken',
    });
    expect(await migrate(database.pool, folder)).toEqual(['001-a.sql', '002-b.sql']);
    await write({ '003-c.sql': 'insert into t values (3)' });
    expect(await migrate(database.pool, folder)).toEqual(['003-c.sql']);
    expect(await rows('select n from t')).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }]);
  });

  it('lets replicas that start together wait for one another', async () => {
    await write({
      '001-a.sql': 'create table t (n int); select pg_sleep(0.3)',
      '002-b.sql': 'insert into t values (1)',
    });
    const applied = await Promise.all([1, 2, 3].map(() => migrate(database.pool, folder)));
    expect(applied.map((names) => names.length).sort()).toEqual([0, 0, 2]);
    expect(await rows('select n from t')).toEqual([{ n: 1 }]);
  });

  it('refuses a file that has changed since it was applied, and applies nothing after it', async () => {
    await write({ '001-a.sql': 'create table t (n int)' });
    await migrate(database.pool, folder);
    await write({ '001-a.sql': 'create table t (n bigint)', '002-b.sql': 'create table u (n int)' });
    await expect(migrate(database.pool, folder)).rejects.toThrow(
      'migration 001-a.sql was changed after it was applied; put it back and add a new one',
    );
    expect(await rows("select to_regclass('u') as u")).toEqual([{ u: null }]);
  });

  it('leaves nothing of a file that fails, and keeps those before it', async () => {
    await write({
      '001-a.sql': 'create table t (n int)',
      '002-b.sql': 'create table u (n int); insert into u values (1); select 1 / 0',
    });
    await expect(migrate(database.pool, folder)).rejects.toThrow(
      'migration 002-b.sql failed: division by zero',
    );
    expect(await rows("select to_regclass('t') is not null as t, to_regclass('u') as u")).toEqual([
      { t: true, u: null },
    ]);
    await write({ '002-b.sql': 'create table u (n int)' });
    expect(await migrate(database.pool, folder)).toEqual(['002-b.sql']);
  });

  it('runs a file without a transaction where it says so', async () => {
    await write({
      '001-a.sql': 'create table t (n int)',
      '002-b.sql': '-- no-transaction\ncreate index concurrently t_n on t (n)',
    });
    expect(await migrate(database.pool, folder)).toHaveLength(2);
    await write({ '003-c.sql': '-- no-transaction\nselect 1 / 0' });
    await expect(migrate(database.pool, folder)).rejects.toThrow(
      /003-c.sql failed: division by zero; it runs without a transaction/,
    );
  });

  it('refuses two files with one number', async () => {
    await write({ '001-a.sql': 'create table t (n int)', '001-b.sql': 'create table u (n int)' });
    await expect(migrate(database.pool, folder)).rejects.toThrow(
      'migration 001-b.sql has the number of 001-a.sql',
    );
  });

  it('does not blame a file for a connection that was lost', async () => {
    await write({ '001-a.sql': 'select pg_terminate_backend(pg_backend_pid())' });
    const error = await migrate(database.pool, folder).catch((caught: Error) => caught);
    expect((error as Error).message).not.toMatch(/^migration/);
    // The lock went with the connection.
    await write({ '001-a.sql': 'create table t (n int)' });
    expect(await migrate(database.pool, folder)).toEqual(['001-a.sql']);
  });

  it('ends the program with an error when it fails', async () => {
    await migrate(database.pool);
    await database.pool.query("update schema_migrations set sha256 = 'other' where name = '001-ledger.sql'");
    const dataDir = join(folder, 'data');
    const child = spawn(process.execPath, programArguments('main/main'), {
      env: {
        ...process.env,
        WHOCHANGED_DATA_DIR: dataDir,
        WHOCHANGED_HTTP_PORT: '0',
        WHOCHANGED_HTTPS_PORT: '0',
        WHOCHANGED_HTTPS_HOST: '127.0.0.1',
        DATABASE_URL: database.url,
      },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    const code = await new Promise((done) => child.once('exit', done));
    expect(said).toContain('migration 001-ledger.sql was changed after it was applied');
    expect(code).toBe(1);
  });
});
