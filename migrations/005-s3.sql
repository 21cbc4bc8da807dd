-- Sources that are read instead of posting: prefixes in object storage, and files that a person imports.
alter table sources drop constraint sources_kind_check;
alter table sources add constraint sources_kind_check check (kind in ('webhook', 's3', 'import'));

-- Where an s3 source lies and how it is opened. Never a credential: those come from the SDK's chain in each process.
create table s3_locations (
  source_id integer primary key references sources (id) on delete cascade,
  bucket text not null,
  prefix text not null,
  region text,
  endpoint text,                       -- null: AWS
  path_style boolean not null default false,
  role_arn text,                       -- assumed through STS
  external_id text,                    -- for that; AWS calls it no secret
  profile text,                        -- of the shared AWS configuration
  format text not null default 'auto',
  sqs_queue_url text,
  queue_polled_at timestamptz,         -- the last time that the queue answered
  queue_error jsonb,                   -- {code, message, hint} since then
  queue_error_at timestamptz
);

-- Listings of an s3 source: one that follows it for ever, and one for each backfill.
create table s3_scans (
  id integer generated always as identity primary key,
  source_id integer not null references sources (id) on delete cascade,
  kind text not null check (kind in ('follow', 'backfill')),
  state text not null default 'active' check (state in ('active', 'listed', 'cancelled')),
  created_at timestamptz not null default now(),
  since timestamptz,                   -- objects of this range only
  until timestamptz,
  look_back_seconds integer not null default 0,
  -- The pass over the keys that is going on. after_key is its checkpoint: everything up to it is in source_objects.
  pass text check (pass in ('full', 'recent')),
  pass_started_at timestamptz,
  after_key text,
  listed_at timestamptz,               -- when the last complete pass began
  full_listed_at timestamptz,
  keys bigint not null default 0,      -- seen in the last or running pass
  due_at timestamptz not null default now(),  -- the next pass or attempt; while leased, the lease's end
  lease_token uuid,
  lease_owner text,
  attempts integer not null default 0, -- failed ones in a row
  error jsonb,                         -- {code, message, hint} of the last failed attempt
  error_at timestamptz,
  check ((pass is null) = (pass_started_at is null)),
  check (kind = 'backfill' or state <> 'listed')
);
create unique index s3_scans_follow on s3_scans (source_id) where kind = 'follow';
create index s3_scans_due on s3_scans (due_at) where state = 'active';

-- One row per object of a source and per content of it: an object that is replaced has another etag, and so another row.
create table source_objects (
  cluster_id integer not null,
  id bigint generated always as identity,
  source_id integer not null,
  bucket text not null,                -- '' for an imported file
  key text not null,                   -- the file's name
  etag text not null,                  -- without quotes; of an imported file sha256:HEX, or stdin:UUID
  version_id text,                     -- as the read object told it, in a bucket with versions
  size bigint,                         -- bytes as they lie there, compressed or not
  last_modified timestamptz not null,
  found_at timestamptz not null default now(),
  scan_id integer,                     -- the backfill that asked for it
  -- new: waits. leased: is being read. failed: will be tried again at due_at. done: read to its end. damaged: read, and
  -- what of it can't be is in quarantine. gone: deleted before it was read. replaced: another content came before it was
  -- read.
  state text not null default 'new' check (state in ('new', 'leased', 'failed', 'done', 'damaged', 'gone', 'replaced')),
  due_at timestamptz not null default now(),  -- when it may be leased: for a leased one, when its lease ends
  attempts integer not null default 0,
  lease_owner text,
  lease_token uuid,
  started_at timestamptz,              -- of the running or last attempt, as all that follows
  finished_at timestamptz,
  position bigint not null default 0,  -- bytes of it that have been read
  events bigint not null default 0,    -- events in it so far
  quarantined bigint not null default 0,
  skipped bigint not null default 0,   -- records that are no audit events
  salvaged bigint not null default 0,  -- events of which only a part could be read
  stored bigint not null default 0,    -- events that were new through it, over all attempts; the others are duplicates
  error jsonb,                         -- {code, message, hint}
  error_at timestamptz,
  primary key (cluster_id, id),
  check ((state = 'leased') = (lease_token is not null))
);
create unique index source_objects_key on source_objects (cluster_id, source_id, key, etag);
create index source_objects_due on source_objects (cluster_id, source_id, (scan_id is not null), due_at)
  where state in ('new', 'leased', 'failed');
create index source_objects_state on source_objects (cluster_id, source_id, state, last_modified);
create index source_objects_scan on source_objects (cluster_id, scan_id, state) where scan_id is not null;

-- Which object gave which events: of one transaction, those whose events.seq is in [seq_from, seq_to).
create table source_object_parts (
  cluster_id integer not null,
  seq_from bigint not null,
  seq_to bigint not null,
  object_id bigint not null,
  primary key (cluster_id, seq_from),
  check (seq_to > seq_from)
);
create index source_object_parts_object on source_object_parts (cluster_id, object_id);

-- Imported files are looked for by their content.
create index source_objects_imported on source_objects (cluster_id, source_id, etag) where bucket = '';

-- A tenant is shown which object told an event that it sees (migrations/011-tenants.sql, which may have been applied
-- before this or not). Where sources lie, and how far their listings are, is no tenant's.
do $$
begin
  if not exists (select from pg_roles where rolname = 'whochanged_tenant') then
    create role whochanged_tenant nologin;
  end if;
exception when duplicate_object then null; -- another database of this server was migrated at the same moment
end $$;

alter table source_objects enable row level security;
create policy tenant on source_objects for select to whochanged_tenant using (
  exists (select from clusters c where c.id = cluster_id));
alter table source_object_parts enable row level security;
create policy tenant on source_object_parts for select to whochanged_tenant using (
  exists (select from clusters c where c.id = cluster_id));
alter table s3_locations enable row level security;
alter table s3_scans enable row level security;

grant select (cluster_id, id, source_id, bucket, key, etag, version_id) on source_objects to whochanged_tenant;
grant select on source_object_parts to whochanged_tenant;
