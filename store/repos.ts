import type { ClientBase, Pool } from 'pg';
import type { HostKind, RefUpdateKind } from './git-schema.js';

type Db = Pool | ClientBase;

/** A repository as the job that mirrors it needs it. */
export interface MirroredRepo {
  id: number;
  name: string;
  url: string;
  hostKind: HostKind;
  apiURL: string | undefined;
  /** As an operator told it. */
  defaultBranch: string | undefined;
  /** The repository's own HEAD, such as refs/heads/main, as last seen. */
  headRef: string | undefined;
  /** env:NAME or file:/path */
  credential: string | undefined;
  sshKeyFile: string | undefined;
  knownHostsFile: string | undefined;
  /** When the attempt at hand, or the last one, began; RFC 3339. */
  attemptedAt: string | undefined;
  /** When the last attempt that went well began. */
  fetchedAt: string | undefined;
  failures: number;
  signersDigest: string | undefined;
}

interface RepoRow {
  id: number;
  name: string;
  url: string;
  host_kind: HostKind;
  api_url: string | null;
  default_branch: string | null;
  head_ref: string | null;
  credential: string | null;
  ssh_key_file: string | null;
  known_hosts_file: string | null;
  fetch_attempted_at: string | null;
  fetched_at: string | null;
  fetch_failures: number;
  signers_digest: string | null;
}

/** A failed fetch is tried again after the interval, then after twice that, at most after an hour. */
const LONGEST_WAIT_SECONDS = 3600;

/**
 * Takes the repository that has waited longest for a fetch, and marks the attempt: asked for by hand, or due.
 * @param except those being fetched already
 */
export async function takeRepoToFetch(
  client: ClientBase,
  options: { now: Date; intervalSeconds: number; except: readonly number[] },
): Promise<MirroredRepo | undefined> {
  const { rows } = await client.query<RepoRow>(
    `update repos set fetch_attempted_at = greatest($1, fetch_requested_at + interval '1 microsecond')
      where id = (
        select id from repos
         where disabled_at is null and id <> all($3::integer[])
           and (fetch_attempted_at is null or fetch_requested_at >= fetch_attempted_at
                or fetch_attempted_at + least(greatest($2, ${LONGEST_WAIT_SECONDS}),
                     $2 * power(2, least(fetch_failures, 20))) * interval '1 second' <= $1)
         order by fetch_requested_at >= fetch_attempted_at desc nulls last, fetch_attempted_at nulls first, id
         limit 1)
      returning id, name, url, host_kind, api_url, default_branch, head_ref, credential, ssh_key_file,
                known_hosts_file, fetch_attempted_at, fetched_at, fetch_failures, signers_digest`,
    [options.now, options.intervalSeconds, options.except],
  );
  const row = rows[0];
  return row && mirroredRepo(row);
}

/** One repository by its name, whether or not it is disabled. */
export async function findMirroredRepo(db: Db, name: string): Promise<MirroredRepo | undefined> {
  const { rows } = await db.query<RepoRow>('select * from repos where name = $1', [name]);
  return rows[0] && mirroredRepo(rows[0]);
}

function mirroredRepo(row: RepoRow): MirroredRepo {
  return {
    id: row.id,
    name: row.name,
    url: row.url,
    hostKind: row.host_kind,
    apiURL: row.api_url ?? undefined,
    defaultBranch: row.default_branch ?? undefined,
    headRef: row.head_ref ?? undefined,
    credential: row.credential ?? undefined,
    sshKeyFile: row.ssh_key_file ?? undefined,
    knownHostsFile: row.known_hosts_file ?? undefined,
    attemptedAt: row.fetch_attempted_at ?? undefined,
    fetchedAt: row.fetched_at ?? undefined,
    failures: row.fetch_failures,
    signersDigest: row.signers_digest ?? undefined,
  };
}

/** The mirror and the index are as of the start of that fetch. */
export async function recordFetch(
  client: ClientBase,
  repoID: number,
  fetch: { startedAt: string; headRef: string | undefined; signersDigest: string },
): Promise<void> {
  await client.query(
    `update repos set fetched_at = $2, fetch_error = null, fetch_failures = 0, head_ref = coalesce($3, head_ref),
            signers_digest = $4 where id = $1`,
    [repoID, fetch.startedAt, fetch.headRef ?? null, fetch.signersDigest],
  );
}

/** @param error what went wrong, where and what to do, without any secret */
export async function recordFetchFailure(client: ClientBase, repoID: number, error: string): Promise<void> {
  await client.query('update repos set fetch_error = $2, fetch_failures = fetch_failures + 1 where id = $1', [
    repoID,
    error,
  ]);
}

/** A ref as it stands in the mirror; `tagSha` is the annotated tag's own object. */
export interface Ref {
  name: string;
  sha: string;
  tagSha?: string;
}

export async function findRefs(db: Db, repoID: number): Promise<Map<string, Ref>> {
  const { rows } = await db.query<{ name: string; sha: string; tag_sha: string | null }>(
    'select name, sha, tag_sha from refs where repo_id = $1',
    [repoID],
  );
  return new Map(
    rows.map((row) => [
      row.name,
      { name: row.name, sha: row.sha, ...(row.tag_sha !== null && { tagSha: row.tag_sha }) },
    ]),
  );
}

export interface RefUpdate {
  name: string;
  kind: RefUpdateKind;
  before: string | undefined;
  after: string | undefined;
}

export interface RepoFinding {
  kind: 'history_rewritten' | 'default_branch_deleted' | 'tag_moved' | 'tag_deleted';
  subject: string;
  detail: unknown;
}

/**
 * Writes what a fetch changed about refs.
 * @param changed refs that are new or have another value
 * @param since the fetch before, in RFC 3339: it happened between
 */
export async function writeRefs(
  client: ClientBase,
  repoID: number,
  refs: { changed: readonly Ref[]; updates: readonly RefUpdate[]; findings: readonly RepoFinding[] },
  times: { seenAt: string; since: string | undefined },
): Promise<void> {
  const { changed, updates, findings } = refs;
  if (changed.length > 0)
    await client.query(
      `insert into refs (repo_id, name, sha, tag_sha, updated_at)
       select $1, r.*, $5 from unnest($2::text[], $3::text[], $4::text[]) as r
       on conflict (repo_id, name) do update set sha = excluded.sha, tag_sha = excluded.tag_sha,
         updated_at = excluded.updated_at`,
      [
        repoID,
        changed.map((ref) => ref.name),
        changed.map((ref) => ref.sha),
        changed.map((ref) => ref.tagSha ?? null),
        times.seenAt,
      ],
    );
  if (updates.length > 0) {
    const gone = updates.filter((update) => update.kind === 'deleted').map((update) => update.name);
    await client.query('delete from refs where repo_id = $1 and name = any($2::text[])', [repoID, gone]);
    await client.query(
      `insert into ref_updates (repo_id, name, kind, before_sha, after_sha, seen_at, since)
       select $1, u.*, $6, $7 from unnest($2::text[], $3::text[], $4::text[], $5::text[]) as u`,
      [
        repoID,
        updates.map((update) => update.name),
        updates.map((update) => update.kind),
        updates.map((update) => update.before ?? null),
        updates.map((update) => update.after ?? null),
        times.seenAt,
        times.since ?? null,
      ],
    );
  }
  if (findings.length > 0)
    await client.query(
      `insert into repo_findings (repo_id, kind, at, subject, detail)
       select $1, f.kind, $2, f.subject, f.detail
         from unnest($3::text[], $4::text[], $5::jsonb[]) as f (kind, subject, detail)
       on conflict (repo_id, kind, subject) do nothing`,
      [
        repoID,
        times.seenAt,
        findings.map((finding) => finding.kind),
        findings.map((finding) => finding.subject),
        findings.map((finding) => JSON.stringify(finding.detail)),
      ],
    );
}
