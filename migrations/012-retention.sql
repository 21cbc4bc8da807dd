-- What leaves the database, when, and where it went.

-- The policies that retention followed, newest last: a change of the configuration makes a row.
create table retention_policies (
  version integer generated always as identity primary key,
  policy text not null,                -- core/retention/policy.ts
  applied_at timestamptz not null default now()
);

-- Up to when events of a class have been looked at: what is older has left, or had a reason to stay.
create table retention_progress (
  cluster_id integer not null,
  class event_class not null,
  until timestamptz not null,
  primary key (cluster_id, class)
);

-- What must stay, whatever a policy says and whoever asks for its erasure. What isn't named holds of everything.
create table legal_holds (
  id integer generated always as identity primary key,
  cluster_id integer,
  namespace text,
  api_group text,
  resource text,
  name text,
  username text,                       -- user or impersonatedUser
  since timestamptz,                   -- of requestReceivedTimestamp
  until timestamptz,
  reason text not null check (reason ~ '\S'),
  created_at timestamptz not null default now(),
  created_by text not null,
  released_at timestamptz,
  released_by text,
  release_reason text,
  check ((released_at is null) = (released_by is null) and (released_at is null) = (release_reason is null)),
  check (since < until)
);
create index legal_holds_active on legal_holds (cluster_id) where released_at is null;

-- A segment: events of one cluster, with the changes they made and all their bodies, as Parquet in S3.
create table archive_segments (
  cluster_id integer not null,
  id bigint generated always as identity,
  classes event_class[] not null,
  since timestamptz not null,          -- its events are in [since, until)
  until timestamptz not null,
  key text not null,                   -- its files are KEY/events.parquet, KEY/changes.parquet, KEY/bodies.parquet
  -- written: the files lie there. verified: they were read back, and are what the database holds. dropping: rows are being
  -- deleted. archived: they are gone. loading, loaded: a question had them put back; then they are dropped again.
  state text not null check (state in ('written', 'verified', 'dropping', 'archived', 'loading', 'loaded')),
  state_at timestamptz not null default now(),
  created_at timestamptz not null default now(),
  verified_at timestamptz,
  asked_until timestamptz,             -- a question needs its rows until then: they aren't dropped before
  events bigint not null,
  changes bigint not null,
  bodies bigint not null,
  seq_from bigint not null,            -- its events' numbers are in [seq_from, seq_to)
  seq_to bigint not null,
  files jsonb not null,                -- of each: rows, bytes, SHA-256 of the file and of its rows
  error text,                          -- of the last attempt at the next step
  primary key (cluster_id, id),
  unique (cluster_id, key),
  check (since < until and seq_from < seq_to)
);
create index archive_segments_time on archive_segments (cluster_id, until, since);
create index archive_segments_open on archive_segments (state) where state <> 'archived';

-- Which segments hold events of an object: its history is read from those alone.
create table archive_objects (
  cluster_id integer not null,
  object_id uuid not null,
  segment_id bigint not null,
  primary key (cluster_id, object_id, segment_id)
);

-- Bodies whose rows were dropped. They go when nothing refers to them any more (store/archive/sweep-bodies.ts).
create table body_candidates (
  cluster_id integer not null,
  digest bytea not null,
  primary key (cluster_id, digest)
);
-- Grows when bodies may be deleted: writers then forget which ones they know to be there.
alter table clusters add column bodies_epoch integer not null default 0;

-- None of it is a tenant's.
alter table retention_policies enable row level security;
alter table retention_progress enable row level security;
alter table legal_holds enable row level security;
alter table archive_segments enable row level security;
alter table archive_objects enable row level security;
alter table body_candidates enable row level security;
