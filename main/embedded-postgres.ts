import { type ChildProcess, spawn } from 'node:child_process';
import { access, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Logger } from 'pino';
import { WhochangedError } from '../core/errors.js';
import { type PostgresFolders, prepareFolders } from './embedded-postgres-folders.js';
import { stopLeftover } from './leftover-postgres.js';
import { lockOwner } from './owner-lock.js';

const PORT = 5432;
const START_TIMEOUT_MS = 60_000;
/** For the backends that a killed postmaster left to notice, and to let go of its shared memory. */
const ORPHANS_TIMEOUT_MS = 15_000;
const STOP_TIMEOUT_MS = 20_000;
const MAX_RESTART_DELAY_MS = 10_000;
/** One that ran for so long did not crash because of how it started. */
const STABLE_MS = 60_000;
const KEPT_LINES = 10;

/** For one machine of 2 cores that ingests: fewer, larger checkpoints; every acknowledged commit is on disk. */
const SETTINGS: Record<string, string> = {
  listen_addresses: '',
  port: String(PORT),
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
  connection: { host: string; port: number; user: string; database: string };
  /** The postmaster's process id, while it runs. */
  pid(): number | undefined;
  /** Stops Postgres for good, within STOP_TIMEOUT_MS. */
  stop(): Promise<void>;
}

/**
 * Runs the real Postgres that comes with the embedded-postgres packages, on a unix socket only, in a folder of ours.
 * A crashed Postgres is started again; one that a killed process left behind is stopped first. As root it runs under
 * the account that owns its data, at first `postgres` or `nobody`.
 * @param settings added to SETTINGS, such as `fsync: 'off'` where the data may be lost
 * @throws WhochangedError when there are no binaries for this platform, another process uses the folder, or Postgres
 *   doesn't start
 */
export async function startEmbeddedPostgres(
  dataDir: string,
  log: Logger,
  settings: Record<string, string> = {},
): Promise<EmbeddedPostgres> {
  const folders = await prepareFolders(dataDir);
  const unlock = await lockOwner(join(folders.socketDir, 'owner'), `the Postgres in ${folders.data}`);
  const supervisor = new Supervisor(folders, { ...SETTINGS, ...settings }, log);
  const stop = async () => {
    await supervisor.stop();
    await unlock();
  };
  try {
    await supervisor.start();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    connection: { host: folders.socketDir, port: PORT, user: 'whochanged', database: 'postgres' },
    pid: () => supervisor.pid,
    stop,
  };
}

class Supervisor {
  readonly #folders: PostgresFolders;
  readonly #settings: Record<string, string>;
  readonly #log: Logger;
  #child: ChildProcess | undefined;
  #stopping = false;
  #restartDelay = 100;
  #lastLines: string[] = [];
  /** Without it, process.exit() would leave Postgres behind. SIGINT makes it stop fast, also after we are gone. */
  readonly #onProcessExit = () => void this.#child?.kill('SIGINT');

  constructor(folders: PostgresFolders, settings: Record<string, string>, log: Logger) {
    this.#folders = folders;
    this.#settings = settings;
    this.#log = log;
  }

  get pid(): number | undefined {
    return isRunning(this.#child) ? this.#child?.pid : undefined;
  }

  async start(): Promise<void> {
    await this.#initialize();
    await stopLeftover(this.#folders.data, this.#log);
    process.once('exit', this.#onProcessExit);
    const until = Date.now() + ORPHANS_TIMEOUT_MS;
    while (!(await this.#spawn())) {
      const orphans = this.#lastLines.some((line) => line.includes('shared memory block'));
      if (!orphans || Date.now() > until) throw this.#startError();
      await sleep(250);
    }
  }

  #startError(): WhochangedError {
    return new WhochangedError(
      'internal',
      `the embedded Postgres did not start: ${this.#lastLines.join(' | ') || 'it said nothing'}`,
      {
        hint: `look into its folder ${this.#folders.data}, or set DATABASE_URL to a Postgres of yours, 15 or later`,
      },
    );
  }

  /** initdb works beside the final name, so that one that was interrupted isn't taken for a database. */
  async #initialize(): Promise<void> {
    const { binaries, data, account } = this.#folders;
    if (await exists(join(data, 'PG_VERSION'))) return;
    const fresh = `${data}.new`;
    await rm(fresh, { recursive: true, force: true });
    const child = spawn(
      join(binaries, 'initdb'),
      [
        '-D',
        fresh,
        '-U',
        'whochanged',
        '--auth=trust',
        '-E',
        'UTF8',
        '--locale=C',
        '--no-instructions',
        ...(this.#settings.fsync === 'off' ? ['--no-sync'] : []),
      ],
      { stdio: ['ignore', 'ignore', 'pipe'], ...account, cwd: dirname(data), env: environment() },
    );
    this.#keepLines(child);
    const code = await new Promise<number | null>((done, fail) =>
      child.once('close', done).once('error', fail),
    );
    if (code !== 0) {
      throw new WhochangedError('internal', `initdb failed: ${this.#lastLines.join(' | ')}`, {
        hint: 'if a library is missing: npm rebuild; if the user is unknown: run as one that /etc/passwd has; or set DATABASE_URL',
      });
    }
    await rename(fresh, data);
  }

  /** Whether Postgres takes connections now. If not, it has ended. */
  async #spawn(): Promise<boolean> {
    const { binaries, data, socketDir, account } = this.#folders;
    const arguments_ = ['-D', data, '-k', socketDir];
    for (const [name, value] of Object.entries(this.#settings)) arguments_.push('-c', `${name}=${value}`);
    // Detached, since Ctrl-C goes to the whole process group: Postgres is to stop after us, not with us.
    const child = spawn(join(binaries, 'postgres'), arguments_, {
      stdio: ['ignore', 'ignore', 'pipe'],
      detached: true,
      ...account,
      cwd: data,
      env: environment(),
    });
    this.#child = child;
    this.#keepLines(child);
    const spawned = await new Promise<boolean>((done) =>
      child
        .once('spawn', () => done(true))
        .once('error', (error) => {
          this.#lastLines.push(error.message);
          done(false);
        }),
    );
    if (!spawned) return false;
    const startedAt = Date.now();
    while (isRunning(child)) {
      if (await this.#isReady(child)) {
        child.once('exit', (code, signal) => void this.#restart(code, signal, Date.now() - startedAt));
        // It may have ended since.
        return isRunning(child);
      }
      if (Date.now() - startedAt > START_TIMEOUT_MS) await this.#end(child);
      await sleep(20);
    }
    return false;
  }

  /** postmaster.pid ends with a line `ready` once connections are taken (src/include/utils/pidfile.h). */
  async #isReady(child: ChildProcess): Promise<boolean> {
    const lines = (await readFile(join(this.#folders.data, 'postmaster.pid'), 'utf8').catch(() => '')).split(
      '\n',
    );
    return Number(lines[0]) === child.pid && lines[7]?.trim() === 'ready';
  }

  async #restart(code: number | null, signal: NodeJS.Signals | null, ranMs: number): Promise<void> {
    if (ranMs > STABLE_MS) this.#restartDelay = 100;
    let problem: object = { code, signal };
    while (!this.#stopping) {
      this.#log.error(
        { ...problem, retryInMs: this.#restartDelay },
        'the embedded Postgres went away; starting it again',
      );
      await sleep(this.#restartDelay);
      this.#restartDelay = Math.min(this.#restartDelay * 2, MAX_RESTART_DELAY_MS);
      if (this.#stopping) return;
      if (await this.#spawn()) {
        this.#log.info('the embedded Postgres is back');
        return;
      }
      problem = { said: this.#lastLines.join(' | ') };
    }
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    process.off('exit', this.#onProcessExit);
    if (this.#child) await this.#end(this.#child);
  }

  /** A fast shutdown, which rolls back what is open; an immediate one where that takes too long. */
  async #end(child: ChildProcess): Promise<void> {
    if (!isRunning(child)) return;
    const exited = new Promise<void>((done) => child.once('exit', () => done()));
    child.kill('SIGINT');
    const timer = setTimeout(() => child.kill('SIGQUIT'), STOP_TIMEOUT_MS);
    await exited;
    clearTimeout(timer);
  }

  #keepLines(child: ChildProcess): void {
    this.#lastLines = [];
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      const lines = text.trim().split('\n');
      this.#lastLines = [...this.#lastLines, ...lines].slice(-KEPT_LINES);
      for (const line of lines)
        this.#log[/\b(WARNING|PANIC):/.test(line) ? 'warn' : 'debug']({ postgres: line }, 'postgres');
    });
  }
}

/** Ours holds secrets, and PGPORT or PGDATA would change what Postgres does. */
function environment(): NodeJS.ProcessEnv {
  const { PATH, LD_LIBRARY_PATH } = process.env;
  return { ...(PATH && { PATH }), ...(LD_LIBRARY_PATH && { LD_LIBRARY_PATH }), LC_ALL: 'C' };
}

function isRunning(child: ChildProcess | undefined): boolean {
  return child?.pid !== undefined && child.exitCode === null && child.signalCode === null;
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

function sleep(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}
