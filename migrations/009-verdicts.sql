-- Links from changes to commits, and verdicts. Word lists: core/links/link.ts, core/verdict/verdict.ts.

create type link_rule as enum (
  'derived', 'argocd', 'oidc', 'flux', 'helm_release', 'ci_session', 'rendered', 'signed_annotation', 'coincidence');
create type link_strength as enum ('exact', 'strong', 'weak');
create type verdict_name as enum (
  'excluded', 'system', 'break-glass', 'out-of-band', 'unknown', 'approved', 'approved-after-the-fact', 'self-approved',
  'unapproved');

-- Every policy that a verdict was ever made by.
create table policies (
  digest text primary key,             -- SHA-256 of the canonical policy
  version text not null,               -- NAME@ and the first digits of the digest
  name text not null,
  document jsonb not null,             -- the policy as it was read
  text text,                           -- the file; null: the built-in policy
  first_used_at timestamptz not null default now()
);

-- What GitOps controllers brought to a cluster, from their own objects' status: one row per sync of an Argo CD
-- Application, or attempt of a Flux Kustomization. "What was deployed before" is one look-up.
create table syncs (
  cluster_id integer not null,
  object_id uuid not null,             -- the Application or Kustomization
  started_at timestamptz not null,
  engine text not null check (engine in ('argocd', 'flux')),
  namespace text not null,
  name text not null,
  sync_id text not null,
  finished_at timestamptz,
  phase text not null check (phase in ('running', 'succeeded', 'failed')),
  sources jsonb not null,              -- LinkedSource[]
  revision_key text not null,          -- digest of which sources at which revisions: equal keys, equal deployments
  objects jsonb,                       -- SyncedObject[]; null: not told
  initiator jsonb,
  non_git jsonb,                       -- NonGitInput[]
  dry_run boolean not null default false,
  operation_digest text not null,
  -- everyone who wrote the record: if any isn't the controller, it proves nothing
  recorders text[] not null,
  recorded_at timestamptz not null,    -- the last change that told of it
  change_id uuid not null,
  primary key (cluster_id, object_id, started_at)
);
create index syncs_name on syncs (engine, name, cluster_id, started_at);
create unique index syncs_id on syncs (sync_id);
create index syncs_revision on syncs (cluster_id, object_id, revision_key, started_at);

-- What people asked Argo CD for: syncs, rollbacks, auto-sync off, overrides.
create table application_actions (
  cluster_id integer not null,
  at timestamptz not null,
  change_id uuid not null,
  action text not null,
  object_id uuid not null,
  namespace text not null,
  name text not null,
  username text not null,              -- who wrote the Application
  initiator text,                      -- the user of Argo CD, as the operation or an Event of argocd-server says
  initiator_evidence text,
  detail jsonb not null,
  primary key (cluster_id, at, change_id, action)
);
create index application_actions_object on application_actions (cluster_id, object_id, action, at);

-- All ways in which a change may be tied to commits; at most one is selected. What follows from another change is in
-- attributions and not here again.
create table links (
  cluster_id integer not null,
  at timestamptz not null,
  change_id uuid not null,
  position smallint not null,
  rule link_rule not null,
  strength link_strength not null,
  selected boolean not null,
  object_id uuid not null,
  sources jsonb not null,              -- LinkedSource[]
  shas text[] not null,
  sync_id text,
  initiator jsonb,
  non_git jsonb,
  doubt text,
  evidence jsonb not null,
  hazards text[] not null,
  primary key (cluster_id, at, change_id, position)
);
create index links_sha on links using gin (shas);
create index links_object on links (cluster_id, object_id, at) where selected and sync_id is null;

-- The commits from what was deployed before to what was deployed, that touch the path. Looked up once per deployment,
-- however many changes it made.
create table commit_ranges (
  id bigint primary key,               -- the first 8 bytes of the SHA-256 of the rest
  repository text not null,            -- as the controller or pipeline names it
  repo text,                           -- ours; null: none is registered for it
  previous_sha text,
  sha text not null,
  path text not null,
  shas text[] not null                 -- with those that are missing: whoever brings them asks for the verdict again
);
create index commit_ranges_shas on commit_ranges using gin (shas);

-- How merged commits stand to approved heads: recomputing takes git.
create table equivalences (
  repo text not null,
  approved_head text not null,
  merge_sha text not null,
  kind text not null check (kind in ('ancestor', 'equal_tree', 'different')),
  detail text,
  primary key (repo, approved_head, merge_sha)
);

-- Verdicts as they were given. Rows are never changed nor deleted.
create table verdicts (
  cluster_id integer not null,
  at timestamptz not null,             -- of the change
  change_id uuid not null,
  id bigint generated always as identity,
  evaluated_at timestamptz not null,
  verdict verdict_name not null,
  reason text,
  detail text not null,
  environment text not null,
  policy_digest text not null,
  final boolean not null,
  root_change_id uuid,
  root_verdict verdict_name,
  root_reason text,
  document jsonb not null,             -- commits, evidence, hazards, content, initiator: core/verdict/verdict.ts
  digest bytea not null,               -- SHA-256 of the canonical verdict
  primary key (cluster_id, at, change_id, id)
);
create function refuse_change() returns trigger language plpgsql as $$
begin
  raise exception 'verdicts are appended, never changed';
end $$;
create trigger verdicts_append_only before update or delete on verdicts
  for each row execute function refuse_change();

-- The newest verdict of each change, for filters and pages, with what the jobs need to know. A row without a verdict
-- waits for its first.
create table current_verdicts (
  cluster_id integer not null,
  at timestamptz not null,
  change_id uuid not null,
  namespace text not null,
  object_id uuid not null,
  verdict verdict_name,
  reason text,
  environment text,
  policy_digest text,
  evaluated_at timestamptz,
  digest bytea,
  final boolean not null default false,
  -- by which late evidence finds the verdicts that it touches
  application text,                    -- core/links/tracking.ts: ENGINE/NAMESPACE/NAME
  root_change_id uuid,
  range_ids bigint[],
  link_due boolean not null default true,
  due_at timestamptz,                  -- when it is to be evaluated next; null: when evidence comes
  primary key (cluster_id, at, change_id)
);
create index current_verdicts_verdict on current_verdicts (cluster_id, verdict, environment, at, change_id);
create index current_verdicts_any on current_verdicts (cluster_id, verdict, at, change_id);
create index current_verdicts_link_due on current_verdicts (cluster_id, at) where link_due;
create index current_verdicts_due on current_verdicts (cluster_id, due_at) where due_at is not null;
create index current_verdicts_application on current_verdicts (application, at) where application is not null;
create index current_verdicts_root on current_verdicts (cluster_id, root_change_id) where root_change_id is not null;
create index current_verdicts_ranges on current_verdicts using gin (range_ids) where range_ids is not null;

-- Up to when late evidence of each kind was looked through.
create table evidence_cursors (
  kind text primary key,
  seen_at timestamptz not null
);

-- Bypasses are told long after they happened.
alter table bypasses add column seen_at timestamptz not null default now();
create index bypasses_seen on bypasses (seen_at);
create index pull_requests_synced on pull_requests (synced_at);
create index imported_approvals_received on imported_approvals (received_at);
create index commits_indexed on commits (indexed_at);
