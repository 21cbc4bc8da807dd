-- What git hosts and ticket systems said, as of when: the facts of core/approval/facts.ts. repo_id is a repository's id;
-- there is no foreign key, since what was true stays evidence when a repository is no longer mirrored. People are jsonb
-- in the shape of Person: names as the system gave them.

-- Cursors of the sync of a repository with its host; repos.synced_at says as of when all of it is known.
create table host_syncs (
  repo_id integer primary key,
  -- everything that the host changed before this is listed in host_due, or imported
  listed_through timestamptz,
  bypasses_through timestamptz,
  deployments_through timestamptz,
  -- not before: the host asked for patience, or the last attempt failed
  next_at timestamptz not null default '-infinity',
  -- what this credential may not see, in words
  limits text[] not null default '{}'
);

-- Pull requests whose facts have to be fetched, since a listing or a webhook named them.
create table host_due (
  repo_id integer not null,
  number integer not null,
  changed_at timestamptz not null,
  due_at timestamptz not null default now(),
  attempts integer not null default 0,
  error text,
  primary key (repo_id, number)
);

-- Answers that need not be sent again (RFC 9110 If-None-Match).
create table host_etags (
  repo_id integer not null,
  url text not null,
  etag text not null,
  seen_at timestamptz not null,
  primary key (repo_id, url)
);

-- Webhook deliveries taken: one that comes again is known by its id.
create table host_deliveries (
  scope text not null,
  delivery_id text not null,
  event text not null,
  action text,
  repo_id integer,
  number integer,
  received_at timestamptz not null default now(),
  primary key (scope, delivery_id)
);
create index host_deliveries_received on host_deliveries (received_at);

create table pull_requests (
  repo_id integer not null,
  number integer not null,
  title text not null,
  url text not null,
  state text not null check (state in ('open', 'closed', 'merged')),
  author jsonb not null,
  last_pusher jsonb,
  last_pushed_at timestamptz,
  base_ref text not null,
  head_sha text not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  merged_at timestamptz,
  merged_by jsonb,
  -- only of a merged one: GitHub puts a trial merge here before
  merge_sha text,
  merge_method text check (merge_method in ('merge', 'squash', 'rebase', 'queue', 'fast_forward')),
  -- as last seen before, or first seen after, the merge
  required_approvals integer,
  required_seen_at timestamptz,
  synced_at timestamptz not null,
  primary key (repo_id, number),
  check ((state = 'merged') = (merged_at is not null)),
  check (state = 'merged' or merge_sha is null)
);
create index pull_requests_merge on pull_requests (repo_id, merge_sha) where merge_sha is not null;
create index pull_requests_updated on pull_requests (repo_id, updated_at);

create table pull_request_commits (
  repo_id integer not null,
  number integer not null,
  -- oldest first
  position integer not null,
  sha text not null,
  -- false: of the pull request's branch; true: what it became on the base branch
  landed boolean not null,
  author jsonb not null,
  committer jsonb not null,
  co_authors jsonb not null default '[]',
  primary key (repo_id, number, landed, position)
);
create index pull_request_commits_sha on pull_request_commits (repo_id, sha);

create table reviews (
  repo_id integer not null,
  number integer not null,
  review_id text not null,
  reviewer jsonb not null,
  -- as it was given; a dismissal doesn't change it
  state text not null check (state in ('approved', 'changes_requested', 'commented', 'unknown')),
  submitted_at timestamptz not null,
  sha text,
  dismissed_at timestamptz,
  dismissed_by jsonb,
  permission text check (permission in ('admin', 'maintain', 'write', 'triage', 'read', 'none')),
  permission_seen_at timestamptz,
  counted boolean,
  first_seen_at timestamptz not null,
  primary key (repo_id, number, review_id)
);

-- A row per change: from seen_at until checked_at it was seen to be so.
create table permissions (
  repo_id integer not null,
  login text not null,
  permission text not null check (permission in ('admin', 'maintain', 'write', 'triage', 'read', 'none')),
  seen_at timestamptz not null,
  checked_at timestamptz not null,
  primary key (repo_id, login, seen_at)
);

-- Pushes to branches, where the host tells who pushed.
create table pushes (
  repo_id integer not null,
  push_id text not null,
  ref text not null,
  before_sha text not null,
  after_sha text not null,
  pusher jsonb not null,
  pushed_at timestamptz not null,
  primary key (repo_id, push_id)
);
create index pushes_after on pushes (repo_id, after_sha);

-- Pushes and merges that a rule of the branch would have stopped.
create table bypasses (
  repo_id integer not null,
  bypass_id text not null,
  actor jsonb not null,
  bypassed_at timestamptz not null,
  rule text not null,
  ref text not null,
  before_sha text,
  after_sha text not null,
  -- every commit that it brought, as far as the host lists them
  shas text[] not null,
  number integer,
  primary key (repo_id, bypass_id)
);
create index bypasses_shas on bypasses using gin (shas);

-- Approvals told by systems without a module of their own.
create table imported_approvals (
  origin text not null,
  approval_id text not null,
  subject_kind text not null check (subject_kind in ('commit', 'image', 'change')),
  -- of a commit: the repository's name
  repo text not null default '',
  subject text not null,
  approver jsonb not null,
  approved_at timestamptz not null,
  url text,
  received_at timestamptz not null default now(),
  primary key (origin, approval_id),
  check ((subject_kind = 'commit') = (repo <> ''))
);
create index imported_approvals_subject on imported_approvals (subject_kind, subject, repo);
create index imported_approvals_time on imported_approvals (approved_at, origin, approval_id);

-- A ticket as last told.
create table change_tickets (
  system text not null,
  ticket_id text not null,
  kind text not null check (kind in ('standard', 'normal', 'emergency', 'incident')),
  state text not null,
  approved boolean not null,
  approvers jsonb not null,
  window_start timestamptz,
  window_end timestamptz,
  configuration_items text[] not null,
  requested_by jsonb,
  url text,
  reviewed_by jsonb,
  reviewed_at timestamptz,
  -- the system's own time of its last change, where it tells
  updated_at timestamptz,
  seen_at timestamptz not null,
  primary key (system, ticket_id),
  check (window_end > window_start)
);
create index change_tickets_window on change_tickets (window_start, window_end);
create index change_tickets_items on change_tickets using gin (configuration_items);
create index change_tickets_seen on change_tickets (seen_at, system, ticket_id);

-- Every state that a ticket was seen in.
create table change_ticket_states (
  system text not null,
  ticket_id text not null,
  seen_at timestamptz not null,
  updated_at timestamptz,
  -- in the shape of ChangeTicket
  document jsonb not null,
  primary key (system, ticket_id, seen_at)
);

-- Every mapping of identities that was loaded, by the digest that verdicts record.
create table identity_maps (
  sha256 text primary key,
  loaded_at timestamptz not null default now(),
  document jsonb not null
);
