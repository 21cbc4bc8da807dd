import { type Static, Type } from 'typebox';
import { HOST_KINDS, REF_UPDATE_KINDS } from '../store/git-schema.js';
import type { RefUpdateItem, RepoItem } from '../store/queries/repos.js';
import { words } from './change-schema.js';

const Time = Type.Union([Type.String(), Type.Null()]);
const MaybeText = Type.Union([Type.String(), Type.Null()]);

export const RepoSchema = Type.Object({
  name: Type.String(),
  url: Type.String(),
  host: words(HOST_KINDS),
  apiURL: MaybeText,
  project: Type.Union([Type.String(), Type.Null()], { description: 'its path on the host' }),
  defaultBranch: MaybeText,
  credential: Type.Union([Type.String(), Type.Null()], {
    description: 'where the secret is, never the secret',
  }),
  sshKeyFile: MaybeText,
  knownHostsFile: MaybeText,
  createdAt: Type.String(),
  disabledAt: Time,
  state: words(['ok', 'failing', 'never', 'disabled']),
  fetch: Type.Object({
    fetchedAt: Type.Union([Type.String(), Type.Null()], {
      description: 'when the last fetch that went well began: the mirror is as of then',
    }),
    attemptedAt: Time,
    requestedAt: Time,
    failures: Type.Integer({ description: 'in a row' }),
    error: Type.Union([Type.String(), Type.Null()], { description: 'of the last attempt, with what to do' }),
  }),
  sync: Type.Object(
    { syncedAt: Time, error: MaybeText },
    { description: 'what the host says of pull requests' },
  ),
  commits: Type.Integer(),
});
const RefUpdate = Type.Object({
  name: Type.String(),
  kind: words(REF_UPDATE_KINDS),
  before: MaybeText,
  after: MaybeText,
  seenAt: Type.String({ description: 'by the fetch that began then' }),
  since: Type.Union([Type.String(), Type.Null()], { description: 'the fetch before: it happened between' }),
  pushedAt: Time,
  pushedBy: MaybeText,
});
export const RepoDetail = Type.Object({
  ...RepoSchema.properties,
  refs: Type.Array(Type.Object({ name: Type.String(), sha: Type.String(), updatedAt: Type.String() })),
  updates: Type.Array(RefUpdate, { description: 'the latest' }),
  rewritten: Type.Array(RefUpdate, { description: 'the latest that took commits away from a ref' }),
  findings: Type.Array(
    Type.Object({ kind: Type.String(), at: Type.String(), subject: Type.String(), detail: Type.Unknown() }),
  ),
});

export function repoItem(row: RepoItem): Static<typeof RepoSchema> {
  let state: Static<typeof RepoSchema>['state'] = 'ok';
  if (row.disabled_at !== null) state = 'disabled';
  else if (row.fetch_error !== null) state = 'failing';
  else if (row.fetched_at === null) state = 'never';
  return {
    name: row.name,
    url: row.url,
    host: row.host_kind,
    apiURL: row.api_url,
    project: row.project,
    defaultBranch: row.default_branch ?? row.head_ref?.replace(/^refs\/heads\//, '') ?? null,
    credential: row.credential,
    sshKeyFile: row.ssh_key_file,
    knownHostsFile: row.known_hosts_file,
    createdAt: row.created_at,
    disabledAt: row.disabled_at,
    state,
    fetch: {
      fetchedAt: row.fetched_at,
      attemptedAt: row.fetch_attempted_at,
      requestedAt: row.fetch_requested_at,
      failures: row.fetch_failures,
      error: row.fetch_error,
    },
    sync: { syncedAt: row.synced_at, error: row.sync_error },
    commits: Number(row.commits),
  };
}

export function refUpdate(row: RefUpdateItem): Static<typeof RefUpdate> {
  return {
    name: row.name,
    kind: row.kind as Static<typeof RefUpdate>['kind'],
    before: row.before_sha,
    after: row.after_sha,
    seenAt: row.seen_at,
    since: row.since,
    pushedAt: row.pushed_at,
    pushedBy: row.pushed_by,
  };
}
