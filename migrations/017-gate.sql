-- Decisions about requests before they were carried out, and which commits images were built from.

create table gate_decisions (
  cluster_id integer not null,
  id uuid not null,                    -- stands in the audit event's annotation gate.whochanged.io/decision
  at timestamptz not null,             -- our clock, when it was asked
  source_id integer not null,          -- by whose credential
  request_uid text not null,           -- AdmissionRequest.uid
  mode text not null check (mode in ('audit', 'warn', 'enforce')),
  fail text not null check (fail in ('open', 'closed')),
  deny_unknown boolean not null,
  outcome text not null check (outcome in ('admitted', 'warned', 'denied', 'failed_open', 'failed_closed')),
  operation text not null,
  api_group text not null,
  resource text not null,
  subresource text,
  namespace text not null,
  name text not null,                  -- '': made up by the apiserver (generateName)
  username text not null,              -- the effective one: admission isn't told who impersonates
  verdict verdict_name,                -- null: it couldn't be told in time
  reason text,
  detail text not null,
  environment text,
  policy_version text,
  document jsonb,                      -- commits, evidence, hazards: core/verdict/verdict.ts. Never an object
  latency_ms real not null,
  -- The audit event that carries the id; null: none came yet
  request_id uuid,                     -- events.request_id, and the id of the change
  event_at timestamptz,
  audit_id text,
  code smallint,
  agrees boolean,                      -- whether that event is of the same user and object
  primary key (cluster_id, id)
);
create index gate_decisions_at on gate_decisions (cluster_id, at, id);
create index gate_decisions_request on gate_decisions (cluster_id, request_id) where request_id is not null;
create index gate_decisions_unlinked on gate_decisions (at) where request_id is null;

create index events_gate on events (cluster_id, (annotations->>'gate.whochanged.io/decision'))
  where annotations ? 'gate.whochanged.io/decision';

alter table gate_decisions enable row level security;
create policy tenant on gate_decisions for select to whochanged_tenant using (
  cluster_id || '/' || namespace = any ((select tenant_scope())::text[])
  or cluster_id || '/*' = any ((select tenant_scope())::text[]));
grant select on gate_decisions to whochanged_tenant;

-- Which commit an image was built from, by attestations whose signature was verified.
create table image_commits (
  image_digest text not null check (image_digest ~ '^sha256:[0-9a-f]{64}$'),
  repository text not null,            -- as the statement names it
  sha text not null,
  signer text not null,                -- of the policy
  predicate_type text not null,
  builder text,
  statement_digest text not null,      -- SHA-256 of the signed payload, hex
  received_at timestamptz not null default now(),
  primary key (image_digest, repository, sha, statement_digest)
);
