import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Registry } from 'prom-client';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Job } from '../../jobs/job.js';
import { partitionsJob } from '../../jobs/partitions.js';
import { pruneJobRunsJob } from '../../jobs/prune-job-runs.js';
import { JobRunner } from '../../jobs/runner.js';
import { type CompiledScript, compiledScript } from '../harness/compiled-script.js';
import { createTestDatabase, type TestDatabase } from '../harness/database.js';
import { pause } from '../harness/process-group.js';

let database: TestDatabase;
const cleanups: Array<() => Promise<void>> = [];

beforeEach(async () => {
  database = await createTestDatabase();
  database.pool.on('error', () => undefined);
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  await database.drop();
});

async function until(what: string, holds: () => Promise<boolean> | boolean, seconds = 15): Promise<void> {
  const end = Date.now() + seconds * 1000;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`not within ${seconds} s: ${what}`);
    await sleep(50);
  }
}

function createRunner(jobs: Job[], registry = new Registry()): JobRunner {
  const silent = () => undefined;
  const runner = new JobRunner({
    pool: database.pool,
    jobs,
    log: { info: silent, warn: silent, error: silent },
    registry,
  });
  cleanups.push(() => runner.stop());
  return runner;
}

const YEARLY = '0 0 0 1 1 *';
const MARKS =
  'create table marks (id bigint generated always as identity, process text, since timestamptz default clock_timestamp(), until timestamptz)';

interface RunRow {
  job: string;
  rows: string;
  error: string | null;
  seconds: number;
}

async function runs(job: string): Promise<RunRow[]> {
  const { rows } = await database.pool.query<RunRow>(
    'select job, rows, error, extract(epoch from finished_at - started_at)::float8 as seconds from job_runs where job = $1 order by id',
    [job],
  );
  return rows;
}

describe('JobRunner', () => {
  it('runs a job by hand, records the run and counts it, leading or not', async () => {
    const registry = new Registry();
    const runner = createRunner(
      [
        {
          name: 'seven',
          schedule: YEARLY,
          runOnce: async ({ client }) => {
            await client.query('select pg_sleep(0.2)');
            return { rows: 7 };
          },
        },
      ],
      registry,
    );
    expect(await runner.run('seven')).toMatchObject({ job: 'seven', rows: 7, error: undefined });
    const [row] = await runs('seven');
    expect(row).toMatchObject({ rows: '7', error: null });
    expect(row!.seconds).toBeGreaterThan(0.15);
    expect(await registry.metrics()).toContain('whochanged_job_rows_total{job="seven"} 7');
    await expect(runner.run('eight')).rejects.toMatchObject({
      code: 'not_found',
      hint: 'the jobs are seven',
    });
  });

  it("goes by Postgres' clock where this machine's is wrong, and says by how much", async () => {
    let seen: Date | undefined;
    const runOnce: Job['runOnce'] = async ({ now }) => {
      seen = now();
      return { rows: 0 };
    };
    const registry = new Registry();
    const runner = createRunner([{ name: 'x', schedule: YEARLY, runOnce }], registry);
    const right = Date.now();
    vi.useFakeTimers({ toFake: ['Date'], now: right + 2 * 3_600_000 });
    try {
      const run = await runner.run('x');
      for (const at of [seen!, run.startedAt, run.finishedAt])
        expect(Math.abs(at.getTime() - right)).toBeLessThan(60_000);
    } finally {
      vi.useRealTimers();
    }
    const offset = /^whochanged_clock_offset_seconds (\S+)$/m.exec(await registry.metrics())![1];
    expect(Math.abs(Number(offset) + 7200)).toBeLessThan(60);
  });

  it('records a failure with its message, rolls back what it left open, and goes on', async () => {
    const registry = new Registry();
    let fail = true;
    const runner = createRunner(
      [
        {
          name: 'flaky',
          schedule: YEARLY,
          runOnce: async ({ client }) => {
            await client.query('begin');
            await client.query(`insert into clusters (name) values ('half')`);
            if (fail) throw new Error('broke in the middle');
            await client.query('commit');
            return { rows: 1 };
          },
        },
      ],
      registry,
    );
    expect(await runner.run('flaky')).toMatchObject({ error: 'broke in the middle' });
    expect((await database.pool.query('select from clusters')).rowCount).toBe(0);
    fail = false;
    expect(await runner.run('flaky')).toMatchObject({ error: undefined });
    expect((await runs('flaky')).map((run) => run.error)).toEqual(['broke in the middle', null]);
    expect(await registry.metrics()).toContain('whochanged_job_errors_total{job="flaky"} 1');
  });

  it('records a run whose connection was cut', async () => {
    const runner = createRunner([
      {
        name: 'cut',
        schedule: YEARLY,
        runOnce: async ({ client }) => {
          const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
          await database.pool.query('select pg_terminate_backend($1)', [rows[0]!.pid]);
          await client.query('select 1');
          return { rows: 0 };
        },
      },
    ]);
    expect((await runner.run('cut')).error).toBeTruthy();
    expect(await runs('cut')).toHaveLength(1);
    expect((await runner.run('cut')).error).toBeTruthy();
  });

  it('never runs a job twice at once, by hand or in another runner', async () => {
    let at = 0;
    let most = 0;
    const slow: Job = {
      name: 'slow',
      schedule: YEARLY,
      runOnce: async ({ client }) => {
        most = Math.max(most, ++at);
        await client.query('select pg_sleep(0.5)');
        at--;
        return { rows: 0 };
      },
    };
    const [one, two] = [createRunner([slow]), createRunner([slow])];
    const results = await Promise.allSettled([one.run('slow'), one.run('slow'), two.run('slow')]);
    expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1);
    for (const result of results) {
      if (result.status === 'rejected')
        expect(result.reason).toMatchObject({ code: 'conflict', retryAfter: 5 });
    }
    expect(most).toBe(1);
  });

  it('catches up at the start with what was due since the last good run, and only that', async () => {
    const job = (name: string, schedule: string): Job => ({
      name,
      schedule,
      runOnce: async () => ({ rows: 0 }),
    });
    const run = (name: string, ago: string, error: string | null = null) =>
      database.pool.query(
        `insert into job_runs (job, started_at, finished_at, rows, error) values ($1, now() - $2::interval, now(), 0, $3)`,
        [name, ago, error],
      );
    await run('missed', '2 years');
    await run('done', '0 seconds');
    await run('failed', '0 seconds', 'no');
    const runner = createRunner([
      job('missed', YEARLY),
      job('done', YEARLY),
      job('failed', YEARLY),
      job('new', YEARLY),
    ]);
    await runner.start();
    expect(runner.leading).toBe(true);
    await until('three catch up', async () => (await runs('new')).length === 1);
    expect(await runs('missed')).toHaveLength(2);
    expect(await runs('failed')).toHaveLength(2);
    expect(await runs('done')).toHaveLength(1);
  });

  it('runs on a schedule, and at once when poked, once more when poked at work', async () => {
    let started = 0;
    const runner = createRunner([
      { name: 'tick', schedule: '* * * * * *', runOnce: async () => ({ rows: 0 }) },
      {
        name: 'work',
        schedule: YEARLY,
        runOnce: async ({ client }) => {
          started++;
          await client.query('select pg_sleep(0.3)');
          return { rows: 0 };
        },
      },
    ]);
    runner.poke('work');
    expect(started).toBe(0);
    await runner.start();
    await until('caught up', async () => (await runs('work')).length === 1);
    for (let i = 0; i < 5; i++) runner.poke('work');
    await until('poked', () => started === 2);
    for (let i = 0; i < 5; i++) runner.poke('work');
    await until('poked at work', async () => (await runs('work')).length === 3);
    await sleep(600);
    expect(started).toBe(3);
    await until('ticked', async () => (await runs('tick')).length >= 3);
  });

  it('stops by letting the run at work finish, then lets another lead', async () => {
    let aborted = false;
    const job: Job = {
      name: 'long',
      schedule: YEARLY,
      runOnce: async ({ client, signal }) => {
        await client.query('select pg_sleep(0.5)');
        aborted = signal.aborted;
        return { rows: 5 };
      },
    };
    const [one, two] = [createRunner([job]), createRunner([{ ...job, name: 'other' }])];
    await one.start();
    await two.start();
    expect([one.leading, two.leading]).toEqual([true, false]);
    await until(
      'at work',
      async () =>
        (
          await database.pool.query(
            `select from pg_stat_activity where query = 'select pg_sleep(0.5)' and state = 'active'`,
          )
        ).rowCount === 1,
    );
    await one.stop();
    expect(aborted).toBe(true);
    expect(await runs('long')).toMatchObject([{ rows: '5', error: null }]);
    await until('the other leads', () => two.leading, 6);
  });

  it('steps down when its connection is cut, and leads again', async () => {
    const runner = createRunner([{ name: 'x', schedule: YEARLY, runOnce: async () => ({ rows: 0 }) }]);
    await runner.start();
    const { rows } = await database.pool.query<{ pid: number }>(
      // The server's other databases are those of tests that run at the same time.
      `select pid from pg_locks where locktype = 'advisory' and classid = 7231003 and granted
         and database = (select oid from pg_database where datname = current_database())`,
    );
    expect(rows).toHaveLength(1);
    await database.pool.query('select pg_terminate_backend($1)', [rows[0]!.pid]);
    await until('stepped down', () => !runner.leading, 3);
    await until('leads again', () => runner.leading, 10);
  });
});

describe('two processes', () => {
  let script: CompiledScript;
  beforeAll(async () => {
    script = await compiledScript(fileURLToPath(new URL('runner-process.ts', import.meta.url)));
  });
  afterAll(() => script?.remove());

  async function start(name: string, ...more: string[]): Promise<{ child: ChildProcess; said: string[] }> {
    const child = spawn(process.execPath, [script.file, database.url, name, ...more], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const said: string[] = [];
    child.stdout!.on('data', (data: Buffer) => said.push(...data.toString().trim().split('\n')));
    cleanups.push(async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGKILL');
      await once(child, 'exit');
    });
    await until(`${name} started`, () => said.length > 0, 25);
    return { child, said };
  }

  it('have one leader, fail over when it is killed, and never overlap', { timeout: 90_000 }, async () => {
    await database.pool.query(MARKS);
    const marks = async () =>
      (
        await database.pool.query<{ process: string; since: string; until: string | null }>(
          'select process, since, until from marks order by id',
        )
      ).rows;
    const one = await start('one');
    const two = await start('two');
    expect([one.said, two.said]).toEqual([['leading'], ['waiting']]);
    await until('some runs', async () => (await marks()).length >= 2);
    expect((await marks()).every((mark) => mark.process === 'one')).toBe(true);

    one.child.kill('SIGKILL');
    await once(one.child, 'exit');
    await until(
      'the other takes over',
      async () => (await marks()).some((mark) => mark.process === 'two'),
      10,
    );

    const three = await start('three');
    expect(three.said).toEqual(['waiting']);
    two.child.kill('SIGTERM');
    await once(two.child, 'exit');
    expect(two.said.at(-1)).toBe('stopped');
    await until(
      'the third takes over',
      async () => (await marks()).some((mark) => mark.process === 'three' && mark.until !== null),
      10,
    );

    // A run that was killed has no end; those that ended never overlap.
    const finished = (await marks()).filter((mark) => mark.until !== null);
    for (const [i, mark] of finished.slice(1).entries()) expect(mark.since >= finished[i]!.until!).toBe(true);
    const orders = finished.map((mark) => mark.process).join(' ');
    expect(orders).toMatch(/^(one ?)+(two ?)+(three ?)+$/);
  });

  it('take over from one that hangs in the midst of a run, which steps down when it goes on', async () => {
    await database.pool.query(MARKS);
    const one = await start('one', '7000');
    await start('two', '7000');
    const last = async () =>
      (
        await database.pool.query<{ process: string; until: string | null }>(
          'select process, until from marks order by id desc limit 1',
        )
      ).rows[0];
    // Paused between two queries of a run, so that it holds both the lead and the job.
    let resume: () => void = () => undefined;
    await until('paused in a run', async () => {
      const begun = await last();
      if (begun?.process !== 'one' || begun.until !== null) return false;
      await sleep(350);
      resume = pause(one.child.pid!);
      if ((await last())!.until === null) return true;
      resume();
      return false;
    });
    try {
      await until('the other runs the job', async () => (await last())?.process === 'two', 40);
    } finally {
      resume();
    }
    await sleep(3000);
    const { rows } = await database.pool.query<{ process: string }>(
      'select process from marks order by id desc limit 2',
    );
    expect(rows.map((row) => row.process)).toEqual(['two', 'two']);
  }, 90_000);
});

describe('the upkeep jobs', () => {
  it('make partitions ahead', async () => {
    const runner = createRunner([partitionsJob()]);
    expect(await runner.run('partitions')).toMatchObject({ rows: 3, error: undefined });
    const month = new Date();
    for (let i = 0; i < 3; i++) {
      const name = `changes_${month.getUTCFullYear()}_${String(month.getUTCMonth() + 1).padStart(2, '0')}`;
      const { rows } = await database.pool.query('select to_regclass($1) as name', [name]);
      expect(rows[0].name).toBe(name);
      month.setUTCMonth(month.getUTCMonth() + 1, 1);
    }
    expect(await runner.run('partitions')).toMatchObject({ error: undefined });
  });

  it("forget old runs, but never a job's newest good one", async () => {
    await database.pool.query(
      `insert into job_runs (job, started_at, finished_at, rows, error)
       select job, now() - ago::interval, now() - ago::interval, 0, error
         from (values ('a', '3 days', null), ('a', '2 days', null), ('a', '1 hour', null), ('a', '20 days', 'failed'),
                      ('a', '40 days', 'failed'), ('b', '9 days', null), ('b', '8 days', 'failed')) v (job, ago, error)`,
    );
    const runner = createRunner([pruneJobRunsJob()]);
    expect(await runner.run('prune-job-runs')).toMatchObject({ rows: 3 });
    const { rows } = await database.pool.query(
      `select job, round(extract(epoch from now() - started_at) / 86400)::int as days, error from job_runs where job in ('a', 'b') order by 1, 2`,
    );
    expect(rows).toEqual([
      { job: 'a', days: 0, error: null },
      { job: 'a', days: 20, error: 'failed' },
      { job: 'b', days: 8, error: 'failed' },
      { job: 'b', days: 9, error: null },
    ]);
  });
});
