import type { Pool, PoolClient } from 'pg';
import { keepAlive, tryLead } from '../store/job-runs.js';
import type { JobLog } from './job.js';

const RETRY_MS = 2000;
const HEARTBEAT_MS = 5000;

/**
 * One leader at a time among all processes on a database: whoever holds an advisory lock on a connection of its own.
 *
 * What is trusted: Postgres, to give the lock to one session and to free it when that session ends; and that the
 * connection is a session, so no pooler in transaction mode between. The leader asks every 5 seconds whether its
 * session is still the same and steps down when there is no answer within as long. The server drops a leader whose
 * machine is gone after about 25 seconds, and one that is there and asks nothing, since it hangs, after `silenceMs`. In between, two processes may both think they lead; that is harmless, since each job takes a
 * lock of its own on the connection it works through.
 */
export class Leadership {
  readonly #pool: Pool;
  readonly #log: JobLog;
  readonly #onGained: () => void;
  readonly #onLost: () => void;
  readonly #process: string;
  readonly #silenceMs: number;
  #client: PoolClient | undefined;
  #session = 0;
  #held = false;
  #stopped = false;
  #timer: NodeJS.Timeout | undefined;
  #turn: Promise<void> = Promise.resolve();

  constructor(
    pool: Pool,
    log: JobLog,
    parts: { process: string; silenceMs: number; onGained: () => void; onLost: () => void },
  ) {
    this.#pool = pool;
    this.#log = log;
    this.#onGained = parts.onGained;
    this.#onLost = parts.onLost;
    this.#process = parts.process;
    this.#silenceMs = parts.silenceMs;
  }

  get held(): boolean {
    return this.#held;
  }

  /** Resolves after the first attempt. Goes on trying, and holding, until `stop`. */
  async start(): Promise<void> {
    this.#turn = this.#next();
    await this.#turn;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#turn;
    this.#drop(undefined);
  }

  async #next(): Promise<void> {
    try {
      if (this.#held) await this.#beat();
      else await this.#try();
    } catch (error) {
      this.#drop(error as Error);
    }
    if (this.#stopped) return;
    this.#timer = setTimeout(
      () => {
        this.#turn = this.#next();
      },
      this.#held ? HEARTBEAT_MS : RETRY_MS,
    );
  }

  async #try(): Promise<void> {
    if (!this.#client) {
      const client = await this.#pool.connect();
      client.on('error', (error) => this.#drop(error));
      this.#client = client;
      await keepAlive(client, this.#process, this.#silenceMs);
      this.#session = await sessionOf(client);
    }
    if (!(await tryLead(this.#client)) || this.#stopped) return;
    this.#held = true;
    this.#log.info({}, 'this process leads the jobs');
    this.#onGained();
  }

  async #beat(): Promise<void> {
    const client = this.#client!;
    let timer: NodeJS.Timeout | undefined;
    const silence = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error('the database did not answer in time')), HEARTBEAT_MS);
    });
    const session = sessionOf(client);
    session.catch(() => undefined);
    try {
      if ((await Promise.race([session, silence])) !== this.#session)
        throw new Error('the database session was replaced');
    } finally {
      clearTimeout(timer);
    }
  }

  /** Gives the connection up for good: its end frees the lock. */
  #drop(error: Error | undefined): void {
    const client = this.#client;
    if (!client) {
      if (error) this.#log.warn({ err: error }, 'no database connection to lead the jobs with; trying again');
      return;
    }
    this.#client = undefined;
    client.release(true);
    if (!this.#held) return;
    this.#held = false;
    if (error) this.#log.warn({ err: error }, 'this process no longer leads the jobs');
    this.#onLost();
  }
}

async function sessionOf(client: PoolClient): Promise<number> {
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
  return rows[0]!.pid;
}
