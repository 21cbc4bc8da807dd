-- Payloads that were erased lawfully. Their digests stay, in events and here, so that every proof holds and nobody takes
-- the erasure for tampering.
create table erased_bodies (
  cluster_id integer not null,
  digest bytea not null,               -- what was bodies.digest
  event_id text not null,              -- the event that was asked for
  erased_at timestamptz not null default now(),
  erased_by text not null,
  reason text not null check (reason ~ '\S'),
  primary key (cluster_id, digest)
);
alter table erased_bodies enable row level security;
