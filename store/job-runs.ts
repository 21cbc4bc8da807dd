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

/** How a process' sessions are called, so that the database shows which belong together. */
const LEAD_SESSION = 'whochanged-lead';
const JOB_SESSION = 'whochanged-jobs';

/**
 * Makes the server end the session of a process that is gone or hangs, which frees its lock: within about 25 seconds where
 * its machine is gone, rather than after the two hours that TCP waits by default (without effect on unix sockets, which
 * notice at once); after `silenceMs` without a query where the process is there and does nothing, as one that was paused.
 * @param process a name for it, the same for all of its sessions
 */
export async function keepAlive(client: ClientBase, process: string, silenceMs: number): Promise<void> {
  await client.query(
    'set tcp_keepalives_idle = 10; set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3; set tcp_user_timeout = 25000',
  );
  await client.query(
    `select set_config('application_name', $1, false), set_config('idle_session_timeout', $2, false)`,
    [`${LEAD_SESSION} ${process}`, String(silenceMs)],
  );
}

/**
 * Ends the session that holds a job's lock, where it has been idle for `silenceMs` and its process shows no sign of life:
 * it keeps no session that tries to lead, or leads. Otherwise a process that hangs in mid-run would keep the job from
 * running anywhere, for as long as it hangs. Jobs are safe to repeat.
 * @returns whether there was one
 */
export async function endStalledRun(client: ClientBase, job: string, silenceMs: number): Promise<boolean> {
  const { rowCount } = await client.query(
    `select pg_terminate_backend(a.pid) from pg_locks l join pg_stat_activity a on a.pid = l.pid
      where l.locktype = 'advisory' and l.granted and a.datname = current_database()
        and l.database = (select oid from pg_database where datname = current_database())
        and l.classid = $1 and l.objid = (hashtext($2)::bigint & 4294967295)::oid and l.objsubid = 2
        and a.application_name like '${JOB_SESSION} %' and a.state like 'idle%'
        and a.state_change < clock_timestamp() - $3 * interval '1 millisecond'
        and not exists (
          select from pg_stat_activity s where s.datname = current_database()
             and s.application_name = replace(a.application_name, '${JOB_SESSION}', '${LEAD_SESSION}'))`,
    [JOB_LOCK, job, silenceMs],
  );
  return (rowCount ?? 0) > 0;
}

/**
 * Takes a job's lock for as long as this connection lives, or until releaseJob. `held` is false while it runs elsewhere;
 * `clock` is Postgres' time then, in milliseconds since the epoch.
 */
export async function tryLockJob(
  client: ClientBase,
  job: string,
  process: string,
): Promise<{ held: boolean; clock: number }> {
  const { rows } = await client.query<{ held: boolean; clock: number }>(
    `select set_config('application_name', $3, false), pg_try_advisory_lock($1, hashtext($2)) as held,
            (extract(epoch from clock_timestamp()) * 1000)::float8 as clock`,
    [JOB_LOCK, job, `${JOB_SESSION} ${process}`],
  );
  return rows[0]!;
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
