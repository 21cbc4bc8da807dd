-- Mirrored git repositories and what was indexed of them. Facts only; links and verdicts are made of them elsewhere.
-- Keys start with repo_id: a repository belongs to no cluster.

create table repos (
  id integer generated always as identity primary key,
  name text not null unique check (name ~ '^[a-z0-9]([a-z0-9._-]{0,98}[a-z0-9])?$'),
  -- A credential never stands in a URL: a user name may, where ssh needs one.
  url text not null check (url !~ '^[a-z0-9+.-]+://[^/@]*:[^/@]*@' and url !~* '^https?://[^/]*@'),
  host_kind text not null default 'git' check (host_kind in ('git', 'github', 'gitlab', 'gerrit')),
  api_url text,
  project text,                        -- its path on the host, such as owner/name
  default_branch text,                 -- as told by an operator, else by the repository's HEAD
  -- Where the secret is, never the secret: env:NAME or file:/path
  credential text check (credential ~ '^(env:[A-Za-z_][A-Za-z0-9_]*|file:/.+)$'),
  ssh_key_file text check (ssh_key_file like '/%'),
  known_hosts_file text check (known_hosts_file like '/%'),
  created_at timestamptz not null default now(),
  disabled_at timestamptz,
  -- Mirror: written by the job that fetches
  fetch_requested_at timestamptz,      -- by hand; done when fetch_attempted_at is later
  fetch_attempted_at timestamptz,      -- when the last attempt began
  fetched_at timestamptz,              -- when the last attempt that went well began: the mirror is as of then
  fetch_error text,                    -- of the last attempt
  fetch_failures integer not null default 0, -- in a row
  head_ref text,                       -- the repository's own HEAD
  signers_digest text,                 -- of the keys that signatures were last verified with
  -- Host: written by the job that syncs pull requests
  sync_requested_at timestamptz,
  sync_attempted_at timestamptz,
  synced_at timestamptz,               -- what the host says is known as of then
  sync_error text,
  sync_failures integer not null default 0,
  check (host_kind = 'git' or project is not null)
);

-- The refs as of the last fetch that was indexed: branches, tags, heads of pull requests.
create table refs (
  repo_id integer not null,
  name text not null collate "C",      -- whole, such as refs/heads/main
  sha text not null,                   -- of the commit; a tag's object is in tag_sha
  tag_sha text,
  updated_at timestamptz not null,     -- when the fetch that showed this value began
  primary key (repo_id, name)
);

-- What happened to branches and tags. `forced`: the old commit is no ancestor of the new one.
create table ref_updates (
  repo_id integer not null,
  id bigint generated always as identity,
  name text not null,
  kind text not null check (kind in ('created', 'fast_forward', 'forced', 'deleted')),
  before_sha text,
  after_sha text,
  -- A fetch sees that a ref moved since the fetch before, not when and by whom.
  seen_at timestamptz not null,
  since timestamptz,                   -- the fetch before: it happened after it
  pushed_at timestamptz,               -- told by the host
  pushed_by text,
  primary key (repo_id, id),
  check ((kind = 'created') = (before_sha is null)),
  check ((kind = 'deleted') = (after_sha is null))
);
create index ref_updates_name on ref_updates (repo_id, name, id);
create index ref_updates_rewritten on ref_updates (repo_id, id) where kind in ('forced', 'deleted');

-- Every commit that any ref ever reached. Rewriting history takes none away: the mirror keeps them by refs of its own.
create table commits (
  repo_id integer not null,
  sha text not null,
  seq bigint generated always as identity, -- order of indexing: what other jobs follow
  tree text not null,
  parents text[] not null,
  author_name text not null,
  author_email text not null,
  authored_at timestamptz not null,
  committer_name text not null,
  committer_email text not null,
  committed_at timestamptz not null,
  co_authors jsonb,                    -- Person[]
  trailers jsonb,                      -- [key, value][]
  signature text not null check (signature in ('none', 'good', 'bad', 'unverified')),
  signer text,
  subject text not null,
  message text not null,
  changed_paths text[] not null,       -- against the first parent; of a rename both
  indexed_at timestamptz not null,
  primary key (repo_id, sha)
);
create index commits_seq on commits (repo_id, seq);
create index commits_tree on commits (repo_id, tree);
-- A commit is asked for by the first digits that a person has, in whichever repository it is.
create index commits_sha on commits (sha text_pattern_ops);

create table commit_paths (
  repo_id integer not null,
  path text not null collate "C",
  sha text not null collate "C",
  primary key (repo_id, path, sha)
);

-- Manifests as they were rendered from a tree: answers "which revisions hold this manifest" without rendering again.
create table renderings (
  repo_id integer not null,
  tree text not null,                  -- commits.tree: the same content renders the same
  path text not null,
  renderer text not null,              -- plain, kustomize, helm, with what parameters (core/manifest)
  renderer_version text not null,
  rendered_at timestamptz not null,
  error text,
  primary key (repo_id, tree, path, renderer, renderer_version)
);
create table rendered_manifests (
  repo_id integer not null,
  digest bytea not null,               -- SHA-256 of the redacted, normalized manifest
  tree text not null,
  path text not null,
  renderer text not null,
  renderer_version text not null,
  api_group text not null,
  kind text not null,
  namespace text not null,
  name text not null,
  primary key (repo_id, digest, tree, path, renderer, renderer_version, api_group, kind, namespace, name)
);
create index rendered_manifests_tree on rendered_manifests (repo_id, tree, path);

-- What looks wrong in a repository: rewritten history, moved tags. Numbered with `findings`, since they're listed together.
create table repo_findings (
  repo_id integer not null,
  id bigint not null default nextval('findings_id_seq'),
  kind text not null,
  found_at timestamptz not null default now(),
  at timestamptz not null,
  subject text not null,
  detail jsonb not null,
  primary key (repo_id, id),
  unique (repo_id, kind, subject)
);
create index repo_findings_id on repo_findings (id);
