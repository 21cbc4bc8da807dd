import type { ClientBase } from 'pg';

/** First keys of advisory locks (two-key form); the store's others are single-key or CLUSTER_LOCK of store/cluster-lock.ts. */
const LEADER_LOCK = 7_231_003;
const JOB_LOCK = 7_231_004;

export interface JobRun {
  job: string;
  startedAt: Date;
  finishedAt: Date;
  rows: number;
  /** What went wrong; undefined for a run that finished. */
  error: string | undefined;
}

/** Takes the lock of the one leader for as long as this connection lives. False when another has it. */
export async function tryLead(client: ClientBase): Promise<boolean> {
  const { rows } = await client.query<{ held: boolean }>('select pg_try_advisory_lock($1, 0) as held', [
    LEADER_LOCK,
  ]);
  return rows[0]!.held;
}

/**
 * Makes the server notice within about 25 seconds that a leader's machine is gone, rather than after the two hours that
 * TCP waits by default. Without effect on unix sockets, which notice at once.
 */
export async function keepAlive(client: ClientBase): Promise<void> {
  await client.query(
    'set tcp_keepalives_idle = 10; set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3; set tcp_user_timeout = 25000',
  );
}

/** Takes a job's lock for as long as this connection lives, or until releaseJob. False while it runs elsewhere. */
export async function tryLockJob(client: ClientBase, job: string): Promise<boolean> {
  const { rows } = await client.query<{ held: boolean }>(
    'select pg_try_advisory_lock($1, hashtext($2)) as held',
    [JOB_LOCK, job],
  );
  return rows[0]!.held;
}

export async function releaseJob(client: ClientBase, job: string): Promise<void> {
  await client.query('select pg_advisory_unlock($1, hashtext($2))', [JOB_LOCK, job]);
}

export async function appendJobRun(client: Pick<ClientBase, 'query'>, run: JobRun): Promise<void> {
  await client.query(
    'insert into job_runs (job, started_at, finished_at, rows, error) values ($1, $2, $3, $4, $5)',
    [run.job, run.startedAt, run.finishedAt, run.rows, run.error ?? null],
  );
}

/** When each job last began a run that finished well, in milliseconds since the epoch. */
export async function findLastSuccesses(
  client: ClientBase,
  jobs: readonly string[],
): Promise<Map<string, number>> {
  const { rows } = await client.query<{ job: string; millis: string }>(
    `select j.name as job, floor(extract(epoch from r.started_at) * 1000)::bigint as millis
       from unnest($1::text[]) as j (name)
      cross join lateral (
        select started_at from job_runs where job = j.name and error is null order by started_at desc limit 1) r`,
    [jobs],
  );
  return new Map(rows.map((row) => [row.job, Number(row.millis)]));
}

/** Forgets runs that finished before `successesUntil`, and failed ones before `failuresUntil`; each job keeps its newest. */
export async function pruneJobRuns(
  client: ClientBase,
  successesUntil: Date,
  failuresUntil: Date,
): Promise<number> {
  const { rowCount } = await client.query(
    `delete from job_runs r
      where (finished_at < $1 and error is null or finished_at < $2)
        and exists (select from job_runs newer
                     where newer.job = r.job and newer.started_at > r.started_at and newer.error is null)`,
    [successesUntil, failuresUntil],
  );
  return rowCount ?? 0;
}
