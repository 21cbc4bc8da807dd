-- The ledger. Every large table carries cluster_id as the first key column and no foreign key crosses it, so that the
-- schema runs on one Postgres, on partitions, and distributed by cluster_id. Word lists: core/vocabulary.ts.

create type audit_stage as enum ('RequestReceived', 'ResponseStarted', 'ResponseComplete', 'Panic');
create type audit_level as enum ('None', 'Metadata', 'Request', 'RequestResponse');
create type event_class as enum (
  'change', 'access', 'derived', 'status', 'lease', 'kube_event', 'review', 'dry_run', 'no_op', 'rejected',
  'failed_auth', 'secret_read', 'read', 'stage');
create type change_kind as enum (
  'create', 'update', 'delete', 'delete_collection', 'finalizer_removal', 'eviction', 'binding',
  'scale', 'restart', 'cordon', 'uncordon', 'rbac_grant', 'rbac_revoke', 'csr_approval', 'token_request',
  'exec', 'attach', 'port_forward', 'proxy', 'debug');
create type patch_type as enum ('json', 'merge', 'strategic', 'apply', 'ambiguous');
create type change_outcome as enum ('succeeded', 'started', 'unknown', 'panicked');
create type certainty as enum ('exact', 'inferred', 'unknown');
create type api_role as enum ('reader', 'operator', 'admin');

create table clusters (
  id integer generated always as identity primary key,
  name text not null unique check (name ~ '^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$'),
  created_at timestamptz not null default now()
);

-- One per apiserver: events carry no server id, so the URL they were posted to is what tells apiservers apart.
create table sources (
  id integer generated always as identity primary key,
  cluster_id integer not null references clusters (id),
  name text not null unique check (name ~ '^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$'),
  kind text not null default 'webhook' check (kind in ('webhook', 's3')),
  created_at timestamptz not null default now(),
  disabled_at timestamptz
);

-- A source may have several credentials at once: rotation overlaps until the old one's expires_at.
create table source_credentials (
  id integer generated always as identity primary key,
  source_id integer not null references sources (id) on delete cascade,
  kind text not null check (kind in ('token', 'client_cert')),
  -- SHA-256 of the token, or of the client certificate's DER
  secret_sha256 bytea not null unique check (octet_length(secret_sha256) = 32),
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  revoked_at timestamptz
);
create index source_credentials_source on source_credentials (source_id);

create table api_tokens (
  id integer generated always as identity primary key,
  name text not null,
  role api_role not null,
  secret_sha256 bytea not null unique check (octet_length(secret_sha256) = 32),
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  revoked_at timestamptz
);

-- Dictionaries: values that repeat in nearly every event. An id is the first 8 (objects: 16) bytes of the SHA-256 of
-- the value's canonical text, so that any writer knows it without asking.
create table users (
  cluster_id integer not null,
  id bigint not null,
  username text not null,
  uid text,
  groups text[],
  extra jsonb,
  primary key (cluster_id, id)
);
create index users_username on users (cluster_id, username);

create table user_agents (
  cluster_id integer not null,
  id bigint not null,
  user_agent text not null,
  tool text not null,
  tool_version text,
  primary key (cluster_id, id)
);

create table objects (
  cluster_id integer not null,
  id uuid not null,
  api_group text not null,
  resource text not null,
  namespace text not null, -- '' for cluster-scoped objects
  name text not null,      -- '' for a collection
  primary key (cluster_id, id)
);
create index objects_name on objects (cluster_id, name, namespace, resource);
create index objects_namespace on objects (cluster_id, namespace, resource);

create table authorizations (
  cluster_id integer not null,
  id bigint not null,
  decision text,
  reason text,
  primary key (cluster_id, id)
);

-- The life of one object under one uid, with its controlling owner: what cascades climb.
create table object_uids (
  cluster_id integer not null,
  uid text not null,
  object_id uuid not null,
  owner_uid text,
  owner_kind text,
  owner_name text,
  seen_at timestamptz not null,
  primary key (cluster_id, uid)
);
create index object_uids_object on object_uids (cluster_id, object_id);
create index object_uids_owner on object_uids (cluster_id, owner_uid) where owner_uid is not null;

-- Request and response bodies and inferred states: canonical redacted JSON, addressed by its SHA-256, stored once.
create table bodies (
  cluster_id integer not null,
  digest bytea not null,
  size integer not null,        -- bytes of the canonical JSON
  encoding smallint not null,   -- store/body-encoding.ts
  content bytea not null,
  primary key (cluster_id, digest)
);
alter table bodies alter column content set storage external;

-- A transaction takes a block of numbers at once (store/append.ts).
create sequence ingest_seq increment by 65536;

-- Every accepted event. Identity is (source, digest); auditID groups and never deduplicates, since clients can set it.
create table events (
  cluster_id integer not null,
  at timestamptz not null,             -- requestReceivedTimestamp
  digest bytea not null,               -- SHA-256 of the canonical redacted event (core/canonical.ts)
  source_id integer not null,
  seq bigint not null,                 -- order of commit within the cluster
  request_id uuid not null,            -- one per request, the same for all its stages; its change's id
  audit_id text not null,
  api_version text not null,
  stage audit_stage not null,
  level audit_level not null,
  class event_class not null,
  stage_at timestamptz not null,
  verb text not null,
  request_uri text not null,
  object_id uuid,
  object_ref jsonb,                    -- objectRef's other fields: apiVersion, uid, resourceVersion, subresource
  user_id bigint not null,
  impersonated_user_id bigint,
  user_agent_id bigint,
  source_ips text[],
  code smallint,
  status jsonb,                        -- responseStatus without its code
  authorization_id bigint,
  annotations jsonb,                   -- all but authorization.k8s.io/*
  authentication_metadata jsonb,
  request_digest bytea,                -- bodies.digest
  response_digest bytea,
  primary key (cluster_id, at, digest, source_id)
) partition by range (at);
create index events_audit_id on events (cluster_id, hashtext(audit_id), at);
create index events_user on events (cluster_id, user_id, at) where class <> 'stage';
create index events_object on events (cluster_id, object_id, at) where class <> 'stage';
create index events_class on events (cluster_id, class, at)
  where class in ('dry_run', 'no_op', 'rejected', 'failed_auth', 'secret_read');
create table events_default partition of events default;

-- One row per effective write or interactive access. A row is also the object's version after it: its state at any
-- time is the newest row at or before that time.
create table changes (
  cluster_id integer not null,
  at timestamptz not null,             -- requestReceivedTimestamp
  change_id uuid not null,             -- events.request_id
  seq bigint not null,                 -- order of commit within the cluster: what tail and jobs follow
  completed_at timestamptz,            -- stageTimestamp of the terminal stage
  source_id integer not null,
  event_digest bytea not null,
  audit_id text not null,
  class event_class not null check (class in ('change', 'access', 'derived', 'status')),
  kind change_kind not null,
  outcome change_outcome not null,
  verb text not null,
  patch_type patch_type,
  object_id uuid not null,
  api_group text not null,
  api_version text,
  resource text not null,
  subresource text,
  namespace text not null,
  name text not null,
  uid text,
  user_id bigint not null,
  impersonated_user_id bigint,
  user_agent_id bigint,
  tool text not null,
  request_uri text not null,
  code smallint,
  level audit_level not null,
  resource_version text,
  generation bigint,
  order_rv bigint not null,            -- resourceVersion, or that of the version before where none was seen
  deleted boolean not null default false,
  request_digest bytea,
  response_digest bytea,
  before_digest bytea,                 -- bodies.digest of the state before and after
  before_certainty certainty,
  after_digest bytea,
  after_certainty certainty,           -- null: not a version (access, eviction, token request)
  inferred jsonb,                      -- which fields of the after state are not exact, and why (core/state.ts)
  diff jsonb,                          -- FieldChange[]; null where it is computed from before and after when asked for
  field_terms text[],                  -- what a field path filter looks for (core/diff/field-path.ts)
  labels text[],                       -- key=value
  summary text not null,
  flags text[],                        -- core/flags.ts
  primary key (cluster_id, at, change_id)
) partition by range (at);
create index changes_id on changes (cluster_id, change_id);
create index changes_seq on changes (cluster_id, seq);
create index changes_object on changes (cluster_id, object_id, at);
create index changes_visible on changes (cluster_id, at) where class in ('change', 'access');
create index changes_namespace on changes (cluster_id, namespace, at) where class in ('change', 'access');
create index changes_user on changes (cluster_id, user_id, at) where class in ('change', 'access');
create index changes_kind on changes (cluster_id, kind, at) where class in ('change', 'access');
create index changes_field_terms on changes using gin (field_terms) where class in ('change', 'access');
create index changes_labels on changes using gin (labels) where class in ('change', 'access');
create table changes_default partition of changes default;

-- Writes of which only RequestReceived was seen. A job turns those that stay into changes of unknown outcome.
create table open_requests (
  cluster_id integer not null,
  request_id uuid not null,
  at timestamptz not null,
  digest bytea not null,
  source_id integer not null,
  primary key (cluster_id, request_id)
);
create index open_requests_at on open_requests (at);

-- Who set off what a controller did. A change by a person or pipeline is its own root and has no row.
create table attributions (
  cluster_id integer not null,
  change_id uuid not null,
  at timestamptz not null,             -- the change's at
  state text not null check (state in ('resolved', 'unresolved')),
  rule text not null,
  reason text,                         -- why unresolved
  root_object_id uuid,
  root_uid text,
  trigger_change_id uuid,              -- what set it off
  trigger_at timestamptz,
  content_change_id uuid,              -- what gave it its content
  content_at timestamptz,
  evidence jsonb not null,
  evaluated_at timestamptz not null default now(),
  retry_until timestamptz,             -- late evidence is awaited until then
  primary key (cluster_id, change_id),
  check (state <> 'unresolved' or reason is not null)
);
create index attributions_retry on attributions (cluster_id, retry_until) where state = 'unresolved';
create index attributions_trigger on attributions (cluster_id, trigger_change_id);

create table quarantine (
  id bigint generated always as identity primary key,
  source_id integer not null references sources (id),
  received_at timestamptz not null default now(),
  reason text not null,                -- a code: not_json, not_an_event, ...
  detail text not null,                -- what is wrong, and where in the event
  digest bytea not null,               -- SHA-256 of the redacted sample
  sample text not null,                -- redacted
  replayable boolean not null,         -- the sample is a whole JSON event
  state text not null default 'open' check (state in ('open', 'replayed', 'dismissed')),
  state_at timestamptz,
  seen integer not null default 1,
  unique (source_id, digest)
);
create index quarantine_state on quarantine (state, id);

-- What looks wrong in the evidence itself: a reused auditID, events out of all time, ...
create table findings (
  id bigint generated always as identity primary key,
  cluster_id integer not null,
  kind text not null,
  found_at timestamptz not null default now(),
  at timestamptz not null,
  subject text not null,
  detail jsonb not null,
  unique (cluster_id, kind, subject)
);
create index findings_at on findings (cluster_id, at);

create table source_health (
  source_id integer primary key references sources (id) on delete cascade,
  last_received_at timestamptz,        -- our clock, at the last batch
  last_event_at timestamptz,           -- newest stageTimestamp seen
  events bigint not null default 0,
  duplicates bigint not null default 0,
  quarantined bigint not null default 0,
  batches bigint not null default 0
);

create table job_cursors (
  job text not null,
  cluster_id integer not null,
  seq bigint not null,
  primary key (job, cluster_id)
);

create table job_runs (
  id bigint generated always as identity primary key,
  job text not null,
  started_at timestamptz not null,
  finished_at timestamptz not null,
  rows bigint not null,
  error text
);
create index job_runs_job on job_runs (job, started_at desc);
