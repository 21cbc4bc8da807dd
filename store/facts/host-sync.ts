import type { ClientBase } from 'pg';
import { micros, timeRow } from './person.js';

/** A repository whose host has an API that whochanged speaks. */
export interface SyncRepo {
  id: number;
  name: string;
  hostKind: 'github' | 'gitlab' | 'gerrit';
  /** Base URL of the API; undefined: the host's public one, or the one beside `url`. */
  apiURL: string | undefined;
  url: string;
  /** Its path on the host, such as owner/name. */
  project: string;
  defaultBranch: string | undefined;
  /** env:NAME or file:/path */
  credential: string | undefined;
}

/** Where a repository's sync stands; times in microseconds. */
export interface SyncCursor {
  listedThrough?: number;
  bypassesThrough?: number;
  deploymentsThrough?: number;
}

interface RepoRow {
  id: number;
  name: string;
  host_kind: SyncRepo['hostKind'];
  api_url: string | null;
  url: string;
  project: string;
  default_branch: string | null;
  head_ref: string | null;
  credential: string | null;
}

const REPO =
  'r.id, r.name, r.host_kind, r.api_url, r.url, r.project, r.default_branch, r.head_ref, r.credential';

function syncRepo(row: RepoRow): SyncRepo {
  return {
    id: row.id,
    name: row.name,
    hostKind: row.host_kind,
    apiURL: row.api_url ?? undefined,
    url: row.url,
    project: row.project,
    defaultBranch: row.default_branch ?? row.head_ref?.replace(/^refs\/heads\//, '') ?? undefined,
    credential: row.credential ?? undefined,
  };
}

/**
 * Repositories to sync now, the longest waiting first: asked for by hand, named by a webhook or by the session of a
 * pipeline, or not attempted since `before`. One that the host asked to wait for, or that failed, waits until its time in any case but by hand.
 */
export async function findReposToSync(client: ClientBase, now: Date, before: Date): Promise<SyncRepo[]> {
  const { rows } = await client.query<RepoRow>(
    `select ${REPO} from repos r left join host_syncs h on h.repo_id = r.id
      where r.disabled_at is null and r.host_kind <> 'git' and r.credential is not null
        and (r.sync_requested_at > coalesce(r.sync_attempted_at, '-infinity')
             or coalesce(h.next_at, '-infinity') <= $1
                and (coalesce(r.sync_attempted_at, '-infinity') <= $2
                     or exists (select from host_due d where d.repo_id = r.id and d.due_at <= $1)
                     or exists (select from ci_runs c where c.repo_id = r.id and c.asked_at is null and c.wanted_at > coalesce(r.sync_attempted_at, '-infinity'))))
      order by r.sync_attempted_at nulls first, r.id`,
    [now, before],
  );
  return rows.map(syncRepo);
}

/** The repository of a host kind by its path on the host, or by its name; paths compare without case, as on the hosts. */
export async function findRepoOfHost(
  db: Pick<ClientBase, 'query'>,
  by: { hostKind: SyncRepo['hostKind']; project: string } | { name: string },
): Promise<SyncRepo | undefined> {
  const where = 'name' in by ? 'r.name = $1' : 'lower(r.project) = lower($1) and r.host_kind = $2';
  const { rows } = await db.query<RepoRow>(
    `select ${REPO} from repos r where ${where} and r.disabled_at is null and r.host_kind <> 'git' order by r.id limit 1`,
    'name' in by ? [by.name] : [by.project, by.hostKind],
  );
  return rows[0] && syncRepo(rows[0]);
}

export async function readSyncCursor(client: ClientBase, repoID: number): Promise<SyncCursor> {
  const { rows } = await client.query<Record<string, string | null>>(
    'select listed_through, bypasses_through, deployments_through from host_syncs where repo_id = $1',
    [repoID],
  );
  const row = rows[0];
  const cursor: SyncCursor = {};
  if (row?.listed_through) cursor.listedThrough = micros(row.listed_through);
  if (row?.bypasses_through) cursor.bypassesThrough = micros(row.bypasses_through);
  if (row?.deployments_through) cursor.deploymentsThrough = micros(row.deployments_through);
  return cursor;
}

export async function moveSyncCursor(client: ClientBase, repoID: number, to: SyncCursor): Promise<void> {
  await client.query(
    `insert into host_syncs as h (repo_id, listed_through, bypasses_through, deployments_through) values ($1, $2, $3, $4)
     on conflict (repo_id) do update set
       listed_through = coalesce(excluded.listed_through, h.listed_through),
       bypasses_through = coalesce(excluded.bypasses_through, h.bypasses_through),
       deployments_through = coalesce(excluded.deployments_through, h.deployments_through)`,
    [repoID, timeRow(to.listedThrough), timeRow(to.bypassesThrough), timeRow(to.deploymentsThrough)],
  );
}

export async function beginSync(client: ClientBase, repoID: number, at: Date): Promise<void> {
  await client.query('update repos set sync_attempted_at = $2 where id = $1', [repoID, at]);
}

/** Notes how an attempt ended. `syncedAt`: all that the host knew then is imported; undefined where some is left. */
export async function endSync(
  client: ClientBase,
  repoID: number,
  end: { syncedAt?: Date; error?: string; nextAt?: Date; limits?: readonly string[] },
): Promise<void> {
  await client.query(
    `update repos set synced_at = coalesce($2, synced_at), sync_error = $3,
            sync_failures = case when $3::text is null then 0 else sync_failures + 1 end
      where id = $1`,
    [repoID, end.syncedAt ?? null, end.error ?? null],
  );
  await client.query(
    `insert into host_syncs as h (repo_id, next_at, limits)
     values ($1, coalesce($2, '-infinity'::timestamptz), coalesce($3::text[], '{}'))
     on conflict (repo_id) do update set next_at = excluded.next_at, limits = coalesce($3::text[], h.limits)`,
    [repoID, end.nextAt ?? null, end.limits ?? null],
  );
}

/** Marks pull requests whose facts are to be fetched. */
export async function markDue(
  db: Pick<ClientBase, 'query'>,
  repoID: number,
  due: ReadonlyArray<{ number: number; changedAt: number }>,
): Promise<void> {
  if (due.length === 0) return;
  await db.query(
    `insert into host_due as d (repo_id, number, changed_at, due_at)
     select $1, number, max(changed_at), '-infinity' from unnest($2::integer[], $3::timestamptz[]) as t (number, changed_at)
      group by number
     on conflict (repo_id, number) do update set
       changed_at = greatest(d.changed_at, excluded.changed_at), due_at = excluded.due_at, attempts = 0`,
    [repoID, due.map((one) => one.number), due.map((one) => timeRow(one.changedAt))],
  );
}

/**
 * The same for what a listing names: those that were fetched since they changed are left out, since listings overlap. A
 * host's clock may be some seconds off ours.
 */
export async function markListed(
  client: ClientBase,
  repoID: number,
  listed: ReadonlyArray<{ number: number; changedAt: number }>,
): Promise<void> {
  const { rows } = await client.query<{ number: number }>(
    `select p.number from unnest($2::integer[], $3::timestamptz[]) as t (number, changed_at)
       join pull_requests p on p.repo_id = $1 and p.number = t.number
      where p.updated_at >= t.changed_at and p.synced_at > p.updated_at + interval '10 seconds'`,
    [repoID, listed.map((one) => one.number), listed.map((one) => timeRow(one.changedAt))],
  );
  const fetched = new Set(rows.map((row) => row.number));
  await markDue(
    client,
    repoID,
    listed.filter((one) => !fetched.has(one.number)),
  );
}

/** Pull requests to fetch, those that changed last first: they are what is asked about. */
export async function findDue(
  client: ClientBase,
  repoID: number,
  now: Date,
  limit: number,
): Promise<Array<{ number: number; changedAt: string }>> {
  const { rows } = await client.query<{ number: number; changed_at: string }>(
    `select number, changed_at from host_due where repo_id = $1 and due_at <= $2 order by changed_at desc, number limit $3`,
    [repoID, now, limit],
  );
  return rows.map((row) => ({ number: row.number, changedAt: row.changed_at }));
}

/** Done, unless it was named again meanwhile. */
export async function settleDue(
  client: ClientBase,
  repoID: number,
  due: { number: number; changedAt: string },
): Promise<void> {
  await client.query('delete from host_due where repo_id = $1 and number = $2 and changed_at <= $3', [
    repoID,
    due.number,
    due.changedAt,
  ]);
}

/** One that can't be fetched waits, twice as long each time; it must not hold up the others. */
export async function postponeDue(
  client: ClientBase,
  repoID: number,
  number: number,
  error: string,
  now: Date,
): Promise<void> {
  await client.query(
    `update host_due set attempts = attempts + 1, error = $3,
            due_at = $4::timestamptz + least(interval '1 day', interval '1 minute' * power(2, least(attempts, 12)))
      where repo_id = $1 and number = $2`,
    [repoID, number, error, now],
  );
}

/** How many are left, and why one of them is. */
export async function countDue(
  client: ClientBase,
  repoID: number,
): Promise<{ due: number; error: string | undefined }> {
  const { rows } = await client.query<{ due: number; error: string | null }>(
    `select count(*)::integer as due, min('#' || number || ': ' || error) as error from host_due where repo_id = $1`,
    [repoID],
  );
  return { due: rows[0]!.due, error: rows[0]!.error ?? undefined };
}

export async function findEtag(client: ClientBase, repoID: number, url: string): Promise<string | undefined> {
  const { rows } = await client.query<{ etag: string }>(
    'select etag from host_etags where repo_id = $1 and url = $2',
    [repoID, url],
  );
  return rows[0]?.etag;
}

export async function saveEtag(
  client: ClientBase,
  repoID: number,
  url: string,
  etag: string,
  now: Date,
): Promise<void> {
  await client.query(
    `insert into host_etags (repo_id, url, etag, seen_at) values ($1, $2, $3, $4)
     on conflict (repo_id, url) do update set etag = excluded.etag, seen_at = excluded.seen_at`,
    [repoID, url, etag, now],
  );
}

/** Forgets deliveries and answers' tags that nobody will ask for again. */
export async function pruneHostTraces(client: ClientBase, until: Date): Promise<number> {
  const deliveries = await client.query('delete from host_deliveries where received_at < $1', [until]);
  const etags = await client.query('delete from host_etags where seen_at < $1', [until]);
  return (deliveries.rowCount ?? 0) + (etags.rowCount ?? 0);
}
