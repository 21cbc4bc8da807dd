-- Alerts: what rules found, who is told of it, and what came of telling. Rules and receivers stand in a file, never here.

create table alerts (
  cluster_id integer not null,
  id bigint generated always as identity,
  rule text not null,
  title text not null,
  severity text not null check (severity in ('critical', 'high', 'medium', 'low', 'informational')),
  subject text not null check (subject in ('event', 'change', 'verdict', 'gap', 'source')),
  key text not null,                   -- what equal matches have in common
  key_digest bytea not null,           -- SHA-256 of rule and key
  message text not null,               -- of the first match
  first_at timestamptz not null,       -- when what matched happened
  last_at timestamptz not null,
  matches integer not null default 1 check (matches > 0),
  counts_until timestamptz not null,   -- equal matches that happened before then are counted here
  raised_at timestamptz not null default now(),
  namespace text,                      -- null: a matter of the whole cluster
  object text,
  username text,
  change_id uuid,
  event_id text,                       -- as /v1/events knows it
  gap_id bigint,
  source_id integer,
  ended_at timestamptz,                -- of a gap that closed, or a source that is heard again
  acked_at timestamptz,
  acked_by text,
  ack_note text,
  primary key (cluster_id, id),
  check ((acked_at is null) = (acked_by is null))
);
create index alerts_raised on alerts (cluster_id, raised_at, id);
create index alerts_key on alerts (cluster_id, key_digest, first_at);
create index alerts_open on alerts (cluster_id, raised_at, id) where acked_at is null;
create index alerts_states on alerts (cluster_id) where subject in ('gap', 'source') and ended_at is null;

-- One row for each receiver that is to be told of an alert. Told at least once: an attempt is recorded after it was made.
create table alert_deliveries (
  cluster_id integer not null,
  alert_id bigint not null,
  receiver text not null,
  state text not null default 'due' check (state in ('due', 'delivered', 'given_up')),
  attempts integer not null default 0,
  due_at timestamptz not null default now(),
  settled_at timestamptz,
  primary key (cluster_id, alert_id, receiver),
  check ((state = 'due') = (settled_at is null))
);
create index alert_deliveries_due on alert_deliveries (due_at) where state = 'due';

create table alert_attempts (
  cluster_id integer not null,
  alert_id bigint not null,
  receiver text not null,
  attempt integer not null,
  at timestamptz not null,
  took_ms integer not null,
  status integer,                      -- of HTTP or SMTP, where there was an answer
  error text,                          -- null: delivered. Holds no address and no secret of a receiver
  primary key (cluster_id, alert_id, receiver, attempt)
);

-- What alerts follow. Events have no index on seq: a block range one is small and costs ingest next to nothing.
create index events_seq on events using brin (seq) with (pages_per_range = 64, autosummarize = on);
create index verdicts_id on verdicts (cluster_id, id);

-- A tenant sees alerts of its namespaces; whom they are sent to is not its matter.
alter table alerts enable row level security;
create policy tenant on alerts for select to whochanged_tenant using (
  cluster_id || '/' || namespace = any ((select tenant_scope())::text[])
  or cluster_id || '/*' = any ((select tenant_scope())::text[]));
grant select on alerts to whochanged_tenant;
alter table alert_deliveries enable row level security;
alter table alert_attempts enable row level security;
