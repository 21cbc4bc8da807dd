-- Whether everything that was told has arrived, and what is known to be missing (docs/completeness.md).

create type gap_cause as enum (
  'events_missing', 'canary_missing', 'generation_gap', 'receiver_down', 'batches_refused', 'truncated', 'quarantined',
  'object_unread');
create type gap_state as enum ('open', 'closed');
create type completeness_verdict as enum ('complete', 'incomplete', 'unknown');

-- How a source's apiserver is asked, where it is. Credentials are references (env:NAME or file:/path), never secrets.
create table source_probes (
  source_id integer primary key references sources (id) on delete cascade,
  metrics_url text check (metrics_url !~ '^[a-z0-9+.-]+://[^/]*@'),
  metrics_token text check (metrics_token ~ '^(env:[A-Za-z_][A-Za-z0-9_]*|file:/.+)$'),
  metrics_ca text check (metrics_ca ~ '^(env:[A-Za-z_][A-Za-z0-9_]*|file:/.+)$'),
  metrics_cert text check (metrics_cert ~ '^(env:[A-Za-z_][A-Za-z0-9_]*|file:/.+)$'),
  metrics_key text check (metrics_key ~ '^(env:[A-Za-z_][A-Za-z0-9_]*|file:/.+)$'),
  metrics_asked_at timestamptz,        -- the last attempt
  metrics_error text,                  -- of the last attempt
  canary_kubeconfig text check (canary_kubeconfig ~ '^(env:[A-Za-z_][A-Za-z0-9_]*|file:/.+)$'),
  canary_namespace text,
  canary_asked_at timestamptz,
  canary_error text,
  check ((canary_kubeconfig is null) = (canary_namespace is null)),
  check ((metrics_cert is null) = (metrics_key is null))
);

-- One look at an apiserver's audit counters, and what had been received by then.
create table counter_samples (
  cluster_id integer not null,
  source_id integer not null,
  sampled_at timestamptz not null,     -- our clock, when it was asked
  read_since timestamptz not null,     -- the apiserver's clock: it read its counters in [read_since, read_until]
  read_until timestamptz not null,
  anchored boolean not null default false,  -- those times come from the audit event of the request itself
  audit_id text not null,              -- of that request
  answered_ms integer not null,        -- from the request to the answer's first byte
  process_started_at timestamptz not null,
  events bigint not null,              -- apiserver_audit_event_total
  errors jsonb not null,               -- apiserver_audit_error_total by plugin
  rejected bigint not null,            -- apiserver_audit_requests_rejected_total
  -- Received since the read_until of the sample before, up to this one's: those that were counted by then for certain,
  -- and those that may have been.
  received_certain bigint,
  received_possible bigint,
  counted_at timestamptz,
  recount_at timestamptz,              -- null: nothing more can come of it
  previous_until timestamptz,          -- read_until of the sample before; null: there is none
  -- The interval from the sample before to this one. Its numbers are null across a restart and the like.
  verdict completeness_verdict not null default 'unknown',
  reason text,                         -- why unknown (core/completeness/counters.ts)
  expected bigint,
  received bigint,
  missing_least bigint,
  missing_most bigint,
  primary key (cluster_id, source_id, sampled_at)
);
create index counter_samples_recount on counter_samples (cluster_id, source_id, recount_at) where recount_at is not null;

-- Writes of our own through the apiserver, whose audit events must come back.
create table canaries (
  cluster_id integer not null,
  audit_id uuid not null,
  source_id integer not null,
  sent_at timestamptz not null,        -- our clock
  state text not null check (state in ('sent', 'seen', 'missing')),
  seen_at timestamptz,                 -- when its event was found in the ledger
  primary key (cluster_id, audit_id)
);
create index canaries_source on canaries (cluster_id, source_id, sent_at);
create index canaries_open on canaries (cluster_id, sent_at) where state <> 'seen';

-- When receivers were up. A process that slept in between has several rows.
create table receiver_uptimes (
  process uuid not null,
  since timestamptz not null,
  until timestamptz not null,
  primary key (process, since)
);
create index receiver_uptimes_until on receiver_uptimes (until);

-- Batches that were answered by an error, which the apiserver sends again a few times and then drops.
create table refused_batches (
  source_id integer not null references sources (id) on delete cascade,
  since timestamptz not null,
  until timestamptz not null,
  batches integer not null,
  code text not null,                  -- core/errors.ts, of the last one
  primary key (source_id, since)
);

-- What is known, or must be feared, to be missing. Rows are re-evaluated and never deleted.
create table gaps (
  id bigint generated always as identity,
  cluster_id integer not null,
  source_id integer not null,
  cause gap_cause not null,
  subject text not null,               -- what it is about: the same gap is found once
  since timestamptz not null,
  until timestamptz not null,
  expected bigint,
  received bigint,
  missing bigint,                      -- at least so many events or contents; null: nobody can tell
  object_id uuid,
  change_id uuid,
  evidence jsonb not null,
  state gap_state not null default 'open',
  opened_at timestamptz not null default now(),
  evaluated_at timestamptz not null default now(),
  closed_at timestamptz,
  closed_reason text,
  primary key (cluster_id, id),
  unique (cluster_id, source_id, cause, subject),
  check (until > since),
  check ((state = 'closed') = (closed_at is not null and closed_reason is not null))
);
create index gaps_open on gaps (cluster_id, until) where state = 'open';
create index gaps_until on gaps (cluster_id, until);

-- Events come in nearly in the order of stage_at, so this is small and costs ingest next to nothing.
create index events_stage_at on events using brin (stage_at) with (pages_per_range = 64, autosummarize = on);
create index events_truncated on events (cluster_id, seq) where annotations ? 'audit.k8s.io/truncated';
-- Few: a gap may close when what was missing comes late.
create index changes_generation_gap on changes (cluster_id, seq) where flags @> '{generation_gap}';

-- The same original again moves received_at; a gap stays where the first one was.
alter table quarantine add column first_received_at timestamptz;
update quarantine set first_received_at = received_at;
alter table quarantine alter column first_received_at set not null, alter column first_received_at set default now();
create index quarantine_source on quarantine (source_id, first_received_at);

-- What is missing is a matter of whole clusters: a tenant (migrations/011-tenants.sql) sees nothing of it.
alter table source_probes enable row level security;
alter table counter_samples enable row level security;
alter table canaries enable row level security;
alter table receiver_uptimes enable row level security;
alter table refused_batches enable row level security;
alter table gaps enable row level security;
