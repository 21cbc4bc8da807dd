-- Runs of pipelines that a session's name tells without their commit: the repository's host is asked for that.
create table ci_runs (
  repo_id integer not null,
  run text not null collate "C",
  wanted_at timestamptz not null,
  asked_at timestamptz,                -- null: the host wasn't asked yet
  sha text,                            -- null: not told, or no such run
  started_at timestamptz,
  ended_at timestamptz,                -- null: it went on when the host was asked
  url text,
  primary key (repo_id, run)
);
create index ci_runs_unasked on ci_runs (repo_id) where asked_at is null;
-- Changes that wait for it, until the host has told.
create table ci_run_changes (
  cluster_id integer not null,
  at timestamptz not null,
  change_id uuid not null,
  repo_id integer not null,
  run text not null collate "C",
  primary key (cluster_id, at, change_id)
);
create index ci_run_changes_run on ci_run_changes (repo_id, run);
