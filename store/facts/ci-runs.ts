import type { ClientBase } from 'pg';
import { formatMicros } from '../../core/timestamp.js';
import { micros, timeRow } from './person.js';

/** A run of a pipeline as its host tells it. Times are microseconds. */
export interface ToldRun {
  sha: string;
  startedAt: number;
  /** Undefined: it goes on. */
  endedAt: number | undefined;
  url: string;
}

/** A run, and as of when the host told of it; `told` is undefined where the host has no such run. */
export interface KnownRun {
  askedAt: number;
  told: ToldRun | undefined;
}

export interface RunName {
  repoID: number;
  run: string;
}

/** What hosts told of some runs, by `repoID run`; those that no host was asked for are left out. */
export async function findRuns(
  client: ClientBase,
  names: readonly RunName[],
): Promise<Map<string, KnownRun>> {
  if (names.length === 0) return new Map();
  const { rows } = await client.query<{
    repo_id: number;
    run: string;
    asked_at: string;
    sha: string | null;
    started_at: string | null;
    ended_at: string | null;
    url: string | null;
  }>({
    name: 'ci-runs',
    text: `select r.* from unnest($1::integer[], $2::text[]) as q (repo_id, run)
             join ci_runs r on r.repo_id = q.repo_id and r.run = q.run where r.asked_at is not null`,
    values: [names.map(({ repoID }) => repoID), names.map(({ run }) => run)],
  });
  return new Map(
    rows.map((row): [string, KnownRun] => [
      `${row.repo_id} ${row.run}`,
      {
        askedAt: micros(row.asked_at),
        told:
          row.sha === null
            ? undefined
            : {
                sha: row.sha,
                startedAt: micros(row.started_at ?? row.asked_at),
                endedAt: micros(row.ended_at),
                url: row.url ?? '',
              },
      },
    ]),
  );
}

/** Has hosts asked for runs, and notes the changes that wait for the answers. */
export async function wantRuns(
  client: ClientBase,
  clusterID: number,
  wanted: ReadonlyArray<RunName & { changeID: string; at: number }>,
  now: Date,
): Promise<void> {
  if (wanted.length === 0) return;
  const values = [
    wanted.map(({ repoID }) => repoID),
    wanted.map(({ run }) => run),
    wanted.map(({ changeID }) => changeID),
    wanted.map(({ at }) => formatMicros(at)),
  ];
  await client.query(
    `insert into ci_run_changes (cluster_id, at, change_id, repo_id, run)
     select $5, at, change_id, repo_id, run
       from unnest($1::integer[], $2::text[], $3::uuid[], $4::timestamptz[]) as q (repo_id, run, change_id, at)
     on conflict do nothing`,
    [...values, clusterID],
  );
  // One that went on when it was asked for is asked for again.
  await client.query(
    `insert into ci_runs as r (repo_id, run, wanted_at)
     select distinct repo_id, run, $3::timestamptz from unnest($1::integer[], $2::text[]) as q (repo_id, run)
     on conflict (repo_id, run) do update set wanted_at = excluded.wanted_at, asked_at = null
       where r.asked_at is not null and r.ended_at is null`,
    [values[0], values[1], now],
  );
}

/** Runs of a repository that its host is to be asked for, the longest waiting first. */
export async function findWantedRuns(client: ClientBase, repoID: number, limit: number): Promise<string[]> {
  const { rows } = await client.query<{ run: string }>(
    'select run from ci_runs where repo_id = $1 and asked_at is null order by wanted_at limit $2',
    [repoID, limit],
  );
  return rows.map(({ run }) => run);
}

/**
 * Notes what a host told of a run, and has the links of the changes that waited for it looked for again.
 * @param told undefined: the host has no such run
 */
export async function recordRun(
  client: ClientBase,
  { repoID, run }: RunName,
  told: ToldRun | undefined,
  now: Date,
): Promise<void> {
  await client.query(
    `with told as (
       update ci_runs set asked_at = $3, sha = $4, started_at = $5, ended_at = $6, url = $7
        where repo_id = $1 and run = $2),
     waited as (
       delete from ci_run_changes
        where cluster_id in (select id from clusters) and repo_id = $1 and run = $2 returning cluster_id, at, change_id)
     update current_verdicts v set link_due = true from waited w
      where v.cluster_id = w.cluster_id and v.at = w.at and v.change_id = w.change_id`,
    [
      repoID,
      run,
      now,
      told?.sha ?? null,
      timeRow(told?.startedAt),
      told ? timeRow(told.endedAt) : now,
      told?.url ?? null,
    ],
  );
}
