import type { ClientBase } from 'pg';
import { appendApprovals } from '../../store/facts/approvals.js';
import { findWantedRuns, recordRun } from '../../store/facts/ci-runs.js';
import {
  countDue,
  findDue,
  findEtag,
  markListed,
  moveSyncCursor,
  postponeDue,
  readSyncCursor,
  type SyncCursor,
  type SyncRepo,
  saveEtag,
  settleDue,
} from '../../store/facts/host-sync.js';
import { appendPermissions, findUnknownPermissions, type Permission } from '../../store/facts/permissions.js';
import { upsertPullRequests } from '../../store/facts/pull-requests.js';
import { appendBypasses, appendPushes, findNewBypasses, findPusher } from '../../store/facts/pushes.js';
import type { JobContext } from '../job.js';
import type { Host, Known } from './host.js';
import { HostBusy, HostError } from './host-http.js';

/** Hosts' clocks, and listings that are answered from replicas, lag by seconds. */
const OVERLAP_US = 300_000_000;
/** Bypasses and approvals of deployments are looked for this often. */
const SLOW_US = 15 * 60_000_000;
const DUE_PIECE = 100;
/** Runs asked for in one sync, which goes on with the rest in the next. */
const RUNS_AT_ONCE = 200;

/** What earlier answers left in the store, for one repository. */
export function knownOf(client: ClientBase, repo: SyncRepo, now: () => Date): Known {
  return {
    etag: (url) => findEtag(client, repo.id, url),
    keepEtag: (url, etag) => saveEtag(client, repo.id, url, etag, now()),
    pusher: (ref, sha) => findPusher(client, repo.id, ref, sha),
    newBypasses: (ids) => findNewBypasses(client, repo.id, ids),
  };
}

/**
 * Brings a repository's facts up to what its host knows now: lists what changed since the last listing, then fetches
 * each of those, committing one by one, so that a run may break off anywhere and the next goes on there.
 * @returns how many pull requests were fetched, and as of when all is known: undefined where some is left
 * @throws HostBusy, HostError, and what a repository's own rules of reading refuse
 */
export async function syncRepo(
  context: JobContext,
  repo: SyncRepo,
  host: Host,
): Promise<{ fetched: number; syncedAt: Date | undefined; error?: string }> {
  const { client } = context;
  const startedAt = context.now();
  const cursor = await readSyncCursor(client, repo.id);
  await askForRuns(context, repo, host);
  await listChanged(client, repo, host, cursor, startedAt);
  const fetched = await fetchDue(context, repo, host);
  if (context.signal.aborted) return { fetched, syncedAt: undefined };
  await importRest(client, repo, host, cursor, startedAt);
  const left = await countDue(client, repo.id);
  if (left.due === 0) return { fetched, syncedAt: startedAt };
  const error = left.error === undefined ? {} : { error: `${left.due} could not be imported: ${left.error}` };
  return { fetched, syncedAt: undefined, ...error };
}

/** Asks for the runs of pipelines that changes wait for. */
async function askForRuns({ client, now, signal }: JobContext, repo: SyncRepo, host: Host): Promise<void> {
  for (const run of await findWantedRuns(client, repo.id, RUNS_AT_ONCE)) {
    if (signal.aborted) return;
    try {
      await recordRun(client, { repoID: repo.id, run }, await host.run(run), now());
    } catch (error) {
      if (!(error instanceof HostError) || error.status !== 403) throw error;
      // Asked for again in the next sync: somebody may give the right meanwhile.
      host.limits.add(`runs of pipelines: ${error.message}`);
      return;
    }
  }
}

async function listChanged(
  client: ClientBase,
  repo: SyncRepo,
  host: Host,
  cursor: SyncCursor,
  startedAt: Date,
): Promise<void> {
  const since = cursor.listedThrough === undefined ? undefined : cursor.listedThrough - OVERLAP_US;
  for await (const piece of host.list(since)) {
    await markListed(client, repo.id, piece);
  }
  // Only a listing that came to its end moves the cursor.
  await moveSyncCursor(client, repo.id, { listedThrough: startedAt.getTime() * 1000 });
}

async function fetchDue(context: JobContext, repo: SyncRepo, host: Host): Promise<number> {
  const { client, log } = context;
  const permissions = new Map<string, Permission | undefined>();
  let fetched = 0;
  for (;;) {
    const due = await findDue(client, repo.id, context.now(), DUE_PIECE);
    if (due.length === 0) return fetched;
    for (const one of due) {
      if (context.signal.aborted) return fetched;
      try {
        await fetchOne(context, repo, host, one, permissions);
        fetched++;
      } catch (error) {
        if (error instanceof HostBusy || context.signal.aborted) throw error;
        if (error instanceof HostError && (error.status === 401 || error.status === 0)) throw error;
        // What is wrong with one must not cost the others.
        const text = (error as Error).message.slice(0, 500);
        log.warn({ err: error, repo: repo.name, number: one.number }, 'a pull request could not be imported');
        await postponeDue(client, repo.id, one.number, text, context.now());
      }
    }
  }
}

async function fetchOne(
  { client, now }: JobContext,
  repo: SyncRepo,
  host: Host,
  due: { number: number; changedAt: string },
  permissions: Map<string, Permission | undefined>,
): Promise<void> {
  const told = await host.fetch(due.number);
  const at = now();
  await client.query('begin');
  try {
    if (told) {
      await appendPushes(client, repo.id, told.pushes);
      await appendBypasses(client, repo.id, told.bypasses ?? []);
      await upsertPullRequests(client, repo.id, [told.told], at);
    }
    await settleDue(client, repo.id, due);
    await client.query('commit');
  } catch (error) {
    await client.query('rollback');
    throw error;
  }
  const logins = await findUnknownPermissions(client, repo.id, [due.number]);
  for (const login of logins)
    if (!permissions.has(login)) permissions.set(login, await host.permission(login));
  const seen = logins.flatMap((login) => {
    const permission = permissions.get(login);
    return permission === undefined ? [] : [{ login, permission }];
  });
  await appendPermissions(client, repo.id, seen, at);
}

async function importRest(
  client: ClientBase,
  repo: SyncRepo,
  host: Host,
  cursor: SyncCursor,
  startedAt: Date,
): Promise<void> {
  const due = (through: number | undefined) =>
    through === undefined || startedAt.getTime() * 1000 - through >= SLOW_US;
  if (due(cursor.bypassesThrough)) {
    const { items, through } = await host.bypasses(cursor.bypassesThrough, startedAt);
    await appendBypasses(client, repo.id, items);
    if (through !== undefined) await moveSyncCursor(client, repo.id, { bypassesThrough: through });
  }
  if (due(cursor.deploymentsThrough)) {
    const { items, through } = await host.approvals(cursor.deploymentsThrough, startedAt);
    await appendApprovals(client, items);
    if (through !== undefined) await moveSyncCursor(client, repo.id, { deploymentsThrough: through });
  }
}
