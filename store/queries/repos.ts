import { type Kysely, sql } from 'kysely';
import type { HostKind } from '../git-schema.js';
import type { Database } from '../schema.js';

export interface RepoItem {
  id: number;
  name: string;
  url: string;
  host_kind: HostKind;
  api_url: string | null;
  project: string | null;
  default_branch: string | null;
  credential: string | null;
  ssh_key_file: string | null;
  known_hosts_file: string | null;
  created_at: string;
  disabled_at: string | null;
  fetch_requested_at: string | null;
  fetch_attempted_at: string | null;
  fetched_at: string | null;
  fetch_error: string | null;
  fetch_failures: number;
  head_ref: string | null;
  synced_at: string | null;
  sync_error: string | null;
  commits: string;
}

/** Repositories by name; all of them unless one is named. */
export async function findRepos(db: Kysely<Database>, name?: string): Promise<RepoItem[]> {
  const { rows } = await sql<RepoItem>`
    select r.id, r.name, r.url, r.host_kind, r.api_url, r.project, r.default_branch, r.credential, r.ssh_key_file,
           r.known_hosts_file, r.created_at, r.disabled_at, r.fetch_requested_at, r.fetch_attempted_at, r.fetched_at,
           r.fetch_error, r.fetch_failures, r.head_ref, r.synced_at, r.sync_error,
           (select count(*) from commits c where c.repo_id = r.id) as commits
      from repos r where ${name === undefined ? sql`true` : sql`r.name = ${name}`} order by r.name`.execute(
    db,
  );
  return rows;
}

export type NewRepo = Pick<
  RepoItem,
  | 'name'
  | 'url'
  | 'host_kind'
  | 'api_url'
  | 'project'
  | 'default_branch'
  | 'credential'
  | 'ssh_key_file'
  | 'known_hosts_file'
>;

/** @throws an integrity error (SQLSTATE 23505) when the name is taken */
export async function createRepo(db: Kysely<Database>, repo: NewRepo): Promise<void> {
  await db.insertInto('repos').values(repo).execute();
}

/** Asks for a fetch as soon as may be. */
export async function requestFetch(db: Kysely<Database>, repoID: number): Promise<void> {
  await sql`update repos set fetch_requested_at = now() where id = ${repoID}`.execute(db);
}

/** A disabled repository is not fetched; what was indexed stays. */
export async function setRepoDisabled(
  db: Kysely<Database>,
  repoID: number,
  disabled: boolean,
): Promise<void> {
  await sql`update repos set disabled_at = ${disabled ? sql`coalesce(disabled_at, now())` : sql`null`}
             where id = ${repoID}`.execute(db);
}

/** What is made again by fetching; facts of hosts, and of what was approved, are evidence and stay. */
const INDEX_TABLES = [
  'refs',
  'ref_updates',
  'commit_paths',
  'commits',
  'renderings',
  'repo_findings',
] as const;

/** Forgets a repository with its index. Its mirror's folder stays. */
export async function removeRepo(db: Kysely<Database>, repoID: number): Promise<void> {
  await db.transaction().execute(async (transaction) => {
    for (const table of INDEX_TABLES)
      await sql`delete from ${sql.table(table)} where repo_id = ${repoID}`.execute(transaction);
    await transaction.deleteFrom('repos').where('id', '=', repoID).execute();
  });
}

export interface RefUpdateItem {
  name: string;
  kind: string;
  before_sha: string | null;
  after_sha: string | null;
  seen_at: string;
  since: string | null;
  pushed_at: string | null;
  pushed_by: string | null;
}

/** The latest updates of a repository's branches and tags, and of those the rewriting ones, newest first. */
export async function findRefUpdates(
  db: Kysely<Database>,
  repoID: number,
  options: { rewritten: boolean; limit: number },
): Promise<RefUpdateItem[]> {
  let query = db
    .selectFrom('ref_updates')
    .select(['name', 'kind', 'before_sha', 'after_sha', 'seen_at', 'since', 'pushed_at', 'pushed_by'])
    .where('repo_id', '=', repoID);
  if (options.rewritten) query = query.where('kind', 'in', ['forced', 'deleted']);
  return query.orderBy('id', 'desc').limit(options.limit).execute();
}

/** Branches and tags as of the last fetch, heads of pull requests aside; branches first. */
export async function findBranchesAndTags(
  db: Kysely<Database>,
  repoID: number,
  limit: number,
): Promise<Array<{ name: string; sha: string; updated_at: string }>> {
  return db
    .selectFrom('refs')
    .select(['name', 'sha', 'updated_at'])
    .where('repo_id', '=', repoID)
    .where(sql<boolean>`(name like 'refs/heads/%' or name like 'refs/tags/%')`)
    .orderBy('name')
    .limit(limit)
    .execute();
}

export interface RepoFindingItem {
  kind: string;
  at: string;
  subject: string;
  detail: unknown;
}

/** What looks wrong in one repository, newest first. */
export async function findRepoFindings(
  db: Kysely<Database>,
  repoID: number,
  limit: number,
): Promise<RepoFindingItem[]> {
  return db
    .selectFrom('repo_findings')
    .select(['kind', 'at', 'subject', 'detail'])
    .where('repo_id', '=', repoID)
    .orderBy('id', 'desc')
    .limit(limit)
    .execute();
}
