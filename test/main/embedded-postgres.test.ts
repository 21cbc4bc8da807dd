import { spawn } from 'node:child_process';
import { chmod, chown, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Pool } from 'pg';
import { type Logger, pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../main/embedded-postgres.js';
import { createPool } from '../../store/database.js';
import { type CompiledScript, compiledScript } from '../harness/compiled-script.js';

const asRoot = process.getuid?.() === 0;
let startScript: CompiledScript;
beforeAll(async () => {
  startScript = await compiledScript(join(import.meta.dirname, 'embedded-postgres-process.ts'));
});
afterAll(() => startScript?.remove());

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whochanged-embedded-'));
  // As root, Postgres runs under another account, which has to pass.
  await chmod(folder, 0o711);
});
afterEach(() => rm(folder, { recursive: true, force: true, maxRetries: 10 }));

const silent: Logger = pino({ level: 'silent' });

/** The machine doesn't lose power in these tests, so nothing is lost by not waiting for its disk. */
function startIn(dataDir: string): Promise<EmbeddedPostgres> {
  return startEmbeddedPostgres(dataDir, silent, { fsync: 'off' });
}

async function start(dataDir = folder): Promise<EmbeddedPostgres> {
  const postgres = await startIn(dataDir);
  onTestFinished(() => postgres.stop());
  return postgres;
}

function connect(postgres: Pick<EmbeddedPostgres, 'connection'>): Pool {
  const pool = createPool({ ...postgres.connection, poolSize: 1, applicationName: 'test' });
  onTestFinished(() => pool.end());
  return pool;
}

async function isAlive(pid: number): Promise<boolean> {
  const status = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return status !== '' && !status.includes(') Z ');
}

/** Runs a process that starts Postgres in `dataDir` and stays; resolves to what it first says. */
async function startProcess(dataDir: string, as: { uid?: number; gid?: number } = {}) {
  const child = spawn(process.execPath, [startScript.file, dataDir], {
    stdio: ['ignore', 'pipe', 'inherit'],
    ...as,
  });
  const line = await new Promise<string>((done, fail) => {
    child.stdout.setEncoding('utf8').once('data', done);
    child.once('exit', (code) => fail(new Error(`it ended with ${code}`)));
  });
  return {
    child,
    said: JSON.parse(line) as { pid?: number; connection: EmbeddedPostgres['connection']; error?: string },
  };
}

describe('the embedded Postgres', () => {
  it('keeps its rows over a stop and a start, and listens on a unix socket only', async () => {
    const first = await startIn(folder);
    const pool = createPool({ ...first.connection, poolSize: 1, applicationName: 'test' });
    await pool.query('create table kept as select 42 as answer');
    expect((await pool.query('show listen_addresses')).rows).toEqual([{ listen_addresses: '' }]);
    await pool.end();
    const pid = first.pid()!;
    await first.stop();
    expect(await isAlive(pid)).toBe(false);
    expect(first.pid()).toBeUndefined();
    expect((await stat(first.connection.host)).mode & 0o777).toBe(0o700);

    const second = connect(await start());
    expect((await second.query('select answer from kept')).rows).toEqual([{ answer: 42 }]);
  });

  it('is back with every committed row after kill -9', async () => {
    const postgres = await start();
    const pool = connect(postgres);
    await pool.query('create table kept (n int)');
    await pool.query('insert into kept select generate_series(1, 1000)');
    const pid = postgres.pid()!;
    process.kill(pid, 'SIGKILL');
    // A backend may go on answering for a moment; the new postmaster is what must have the rows.
    await expect.poll(() => postgres.pid() ?? pid, { timeout: 20_000 }).not.toBe(pid);
    const count = async () => (await pool.query('select count(*)::int as n from kept')).rows[0].n;
    await expect.poll(() => count().catch(() => 'away'), { timeout: 20_000 }).toBe(1000);
  });

  it('refuses a folder that another process uses, and leaves its Postgres alone', async () => {
    const postgres = await start();
    const pid = postgres.pid();
    await expect(startIn(folder)).rejects.toThrow(/another whochanged uses the Postgres in .*pgdata/);
    expect((await connect(postgres).query('select 1 as one')).rows).toEqual([{ one: 1 }]);
    expect(postgres.pid()).toBe(pid);
  });

  it('takes the place of what a killed process left behind', async () => {
    const { child, said } = await startProcess(folder);
    await connect(said).query('create table kept as select 42 as answer');
    const exited = new Promise((done) => child.once('exit', done));
    child.kill('SIGKILL');
    await exited;
    expect(await isAlive(said.pid!)).toBe(true);

    const postgres = await start();
    expect(await isAlive(said.pid!)).toBe(false);
    expect(postgres.pid()).not.toBe(said.pid);
    expect((await connect(postgres).query('select answer from kept')).rows).toEqual([{ answer: 42 }]);
  });

  it('is not left behind by process.exit()', async () => {
    const { child, said } = await startProcess(folder);
    const exited = new Promise((done) => child.once('exit', done));
    child.kill('SIGUSR2');
    await exited;
    await expect.poll(() => isAlive(said.pid!), { timeout: 10_000 }).toBe(false);
  });

  it('is made anew where initdb was interrupted', async () => {
    await mkdir(join(folder, 'postgres/pgdata.new/base'), { recursive: true });
    expect((await connect(await start()).query('select 1 as one')).rows).toEqual([{ one: 1 }]);
  });

  it('says why it does not start, and what to do', async () => {
    const postgres = await startIn(folder);
    await postgres.stop();
    await rm(join(folder, 'postgres/pgdata/global'), { recursive: true });
    await expect(startIn(folder)).rejects.toThrow(/did not start: .*could not (open|find|access)/);
    // And it doesn't go on trying in the background.
    const lock = await startIn(folder).catch((error: Error) => error.message);
    expect(lock).toMatch(/did not start/);
  });

  it('puts its socket elsewhere when the path is too long for one', async () => {
    const deep = join(folder, 'a'.repeat(60), 'b'.repeat(60));
    const postgres = await start(deep);
    onTestFinished(() => rm(postgres.connection.host, { recursive: true, force: true }));
    expect(postgres.connection.host.length).toBeLessThan(93);
    expect((await connect(postgres).query('select 1 as one')).rows).toEqual([{ one: 1 }]);
  });

  it('does not use a socket folder that others may enter', async () => {
    await mkdir(join(folder, 'postgres/run'), { recursive: true, mode: 0o777 });
    await chmod(join(folder, 'postgres/run'), 0o777);
    await expect(startIn(folder)).rejects.toThrow(/not a folder that only we can enter/);
    await rm(join(folder, 'postgres/run'), { recursive: true });
    await symlink('/etc', join(folder, 'postgres/run'));
    await expect(startIn(folder)).rejects.toThrow(/not a folder that only we can enter/);
    expect((await stat('/etc')).uid).toBe(0);
  });

  it('does not take another process with the id of an earlier Postgres for it', async () => {
    const postgres = await startIn(folder);
    const pidFile = join(folder, 'postgres/pgdata/postmaster.pid');
    const content = await readFile(pidFile, 'utf8');
    await postgres.stop();
    // One that Postgres could signal, as in a container where all run under one account.
    const { uid, gid } = await stat(join(folder, 'postgres/pgdata'));
    const other = spawn('sleep', ['60'], asRoot ? { uid, gid } : {});
    onTestFinished(() => void other.kill());
    await writeFile(pidFile, content.replace(/^\d+/, String(other.pid)));
    await chown(pidFile, uid, gid);
    expect((await connect(await start()).query('select 1 as one')).rows).toEqual([{ one: 1 }]);
    expect(other.exitCode ?? other.signalCode).toBeNull();
  });
});

describe.runIf(asRoot)('the embedded Postgres, as root', () => {
  it('runs under an unprivileged account', async () => {
    const postgres = await start();
    const status = await readFile(`/proc/${postgres.pid()}/status`, 'utf8');
    expect(Number(/^Uid:\s+(\d+)/m.exec(status)![1])).not.toBe(0);
  });

  it('runs under whoever made the database, and as that user itself', async () => {
    const uid = 65534;
    const gid = 65534;
    await chown(folder, uid, gid);
    const mine = await startProcess(folder, { uid, gid });
    await connect(mine.said).query('create table kept as select 42 as answer');
    const exited = new Promise((done) => mine.child.once('exit', done));
    mine.child.kill('SIGKILL');
    await exited;
    // Root finds a leftover of another user.
    const postgres = await startIn(folder);
    const status = await readFile(`/proc/${postgres.pid()}/status`, 'utf8');
    expect(Number(/^Uid:\s+(\d+)/m.exec(status)![1])).toBe(uid);
    await postgres.stop();
    // And the user finds what root left.
    const again = await startProcess(folder, { uid, gid });
    onTestFinished(() => void again.child.kill('SIGUSR2'));
    expect((await connect(again.said).query('select answer from kept')).rows).toEqual([{ answer: 42 }]);
  });

  it('keeps data under /var/lib where its account cannot reach the data folder, and stays there', async () => {
    await chmod(folder, 0o700);
    const dataDir = join(folder, 'data');
    const first = await startIn(dataDir);
    const place = (await readFile(join(dataDir, 'postgres-is-in'), 'utf8')).trim();
    onTestFinished(() => rm(place, { recursive: true, force: true }));
    expect(first.connection.host).toBe(join(place, 'run'));
    const pool = createPool({ ...first.connection, poolSize: 1, applicationName: 'test' });
    await pool.query('create table kept as select 42 as answer');
    await pool.end();
    await first.stop();
    await chmod(folder, 0o711);
    expect((await connect(await start(dataDir)).query('select answer from kept')).rows).toEqual([
      { answer: 42 },
    ]);
  });

  it('does not begin anew when the data can no longer be reached', async () => {
    await (await startIn(folder)).stop();
    await chmod(folder, 0o700);
    await expect(startIn(folder)).rejects.toThrow(/can no longer reach/);
  });
});

describe('the owner lock', () => {
  it('goes to one of many that start at once, and to the next when that one is gone', async () => {
    const { lockOwner } = await import('../../main/owner-lock.js');
    const path = join(folder, 'owner');
    const outcomes = await Promise.allSettled(Array.from({ length: 20 }, () => lockOwner(path, 'the test')));
    const winners = outcomes.filter((outcome) => outcome.status === 'fulfilled');
    expect(winners).toHaveLength(1);
    await expect(lockOwner(path, 'the test')).rejects.toThrow('another whochanged uses the test');
    await winners[0]!.value();
    await (await lockOwner(path, 'the test'))();
  });

  it('respects an owner that does not answer', async () => {
    const { lockOwner } = await import('../../main/owner-lock.js');
    const path = join(folder, 'owner');
    const server = createServer(() => undefined).listen(path);
    onTestFinished(() => void server.close());
    await expect(lockOwner(path, 'the test')).rejects.toThrow('another whochanged uses the test');
  });
});
