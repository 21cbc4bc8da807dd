-- The proof log: one RFC 6962 tree over leaves that stand for events, verdicts and access events (core/log/leaf.ts).
-- It is one for the whole ledger, so these tables carry no cluster as their key; leaves do.

-- What waits for its place in the tree, written in the transaction that writes the records themselves. `records` holds
-- for each record its origin (4 bytes: a source's id, 0 for none), its time (8 bytes, microseconds) and its digest
-- (32 bytes), big-endian; record i has the number first_seq + i.
create table log_pending (
  id bigint generated always as identity primary key,
  type text not null check (type in ('event', 'verdict', 'access')),
  cluster_id integer not null,         -- 0 for none
  first_seq bigint not null,
  records bytea not null check (octet_length(records) % 44 = 0)
);

-- Which records hold which places: leaves [first_index, first_index + count) are the records first_seq and on.
create table log_runs (
  first_index bigint primary key,
  count integer not null check (count > 0),
  type text not null check (type in ('event', 'verdict', 'access')),
  cluster_id integer not null,
  first_seq bigint not null,
  sequenced_at timestamptz not null default now()
);
create unique index log_runs_seq on log_runs (type, cluster_id, first_seq);

-- Hashes of the tree, 256 to a tile (core/log/tiles.ts).
create table log_tiles (
  level smallint not null,
  index bigint not null,
  hashes bytea not null check (octet_length(hashes) % 32 = 0),
  primary key (level, index)
);
alter table log_tiles alter column hashes set storage external;

create table log_size (
  only_row boolean primary key default true check (only_row),
  size bigint not null default 0
);
insert into log_size default values;

-- Signed notes. The key is outside the database.
create table log_checkpoints (
  size bigint not null,
  signed_at timestamptz not null,
  root bytea not null check (octet_length(root) = 32),
  note text not null,
  copied_at timestamptz,               -- when it was put where the database can't reach it
  copy_error text,
  primary key (size, signed_at)
);

-- Public keys that have signed checkpoints, as c2sp.org/signed-note writes them.
create table log_keys (
  verifier_key text primary key,
  name text not null,
  first_used_at timestamptz not null default now(),
  retired_at timestamptz
);
