import type { Registry } from 'prom-client';
import {
  beginSync,
  countDue,
  endSync,
  findReposToSync,
  pruneHostTraces,
  type SyncRepo,
} from '../../store/facts/host-sync.js';
import type { CredentialPlaces } from '../credentials.js';
import type { Job, JobContext } from '../job.js';
import { HostBusy } from './host-http.js';
import { createHostMetrics, type HostMetrics } from './metrics.js';
import { HostOpener } from './open-host.js';
import { knownOf, syncRepo } from './sync-repo.js';

const DAY_MS = 86_400_000;
const KEEP_TRACES_MS = 30 * DAY_MS;
const FIRST_RETRY_MS = 60_000;
const MOST_RETRY_MS = 3_600_000;

export interface SyncHostsOptions {
  credentials: CredentialPlaces;
  /** Seconds between two syncs of a repository; webhooks make one due at once. */
  syncSeconds: number;
  registry: Registry;
  /** Tests shorten the first pause between tries. */
  firstPauseMs?: number;
}

/**
 * Imports pull requests, reviews, permissions and bypasses from the hosts of the repositories. A repository whose host
 * fails or asks for patience waits, and the others go on.
 */
export function syncHostsJob(options: SyncHostsOptions): Job {
  const metrics = createHostMetrics(options.registry);
  let prunedAt = 0;
  return {
    name: 'sync-hosts',
    schedule: '*/10 * * * * *',
    async runOnce(context) {
      const { client, now, signal } = context;
      const before = new Date(now().getTime() - options.syncSeconds * 1000);
      const opener = new HostOpener(options, metrics, signal);
      const errors: string[] = [];
      let rows = 0;
      for (const repo of await findReposToSync(client, now(), before)) {
        if (signal.aborted) break;
        const result = await syncOne(context, repo, opener, metrics);
        rows += result.fetched;
        if (result.error !== undefined) errors.push(`${repo.name}: ${result.error}`);
      }
      if (now().getTime() - prunedAt > DAY_MS) {
        await pruneHostTraces(client, new Date(now().getTime() - KEEP_TRACES_MS));
        prunedAt = now().getTime();
      }
      // The others were synced all the same; the run is told as failed so that somebody looks.
      if (errors.length > 0) throw new Error(errors.join('; '));
      return { rows };
    },
  };
}

async function syncOne(
  context: JobContext,
  repo: SyncRepo,
  opener: HostOpener,
  metrics: HostMetrics,
): Promise<{ fetched: number; error?: string }> {
  const { client, now, log } = context;
  const startedAt = now();
  await beginSync(client, repo.id, startedAt);
  let limits: ReadonlySet<string> | undefined;
  try {
    const host = await opener.open(repo, knownOf(client, repo, now));
    limits = host.limits;
    const { fetched, syncedAt, error } = await syncRepo(context, repo, host);
    await endSync(client, repo.id, {
      limits: [...limits].sort(),
      ...(syncedAt && { syncedAt }),
      ...(error && { error }),
    });
    if (syncedAt) metrics.syncedAt.set({ repo: repo.name }, syncedAt.getTime() / 1000);
    metrics.due.set({ repo: repo.name }, (await countDue(client, repo.id)).due);
    return { fetched };
  } catch (error) {
    if (context.signal.aborted) return { fetched: 0 };
    const text = (error as Error).message.slice(0, 500);
    const busy = error instanceof HostBusy;
    const failures = await countFailures(context, repo);
    const patience = Math.min(MOST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(failures, 10));
    const nextAt = busy ? error.until : new Date(startedAt.getTime() + patience);
    await endSync(client, repo.id, { error: text, nextAt, ...(limits && { limits: [...limits].sort() }) });
    if (busy) {
      log.info(
        { repo: repo.name, until: nextAt.toISOString() },
        'a host limits requests; its sync goes on then',
      );
      return { fetched: 0 };
    }
    metrics.errors.inc({ repo: repo.name });
    log.warn({ err: error, repo: repo.name }, 'a repository could not be synced with its host');
    return { fetched: 0, error: text };
  }
}

async function countFailures({ client }: JobContext, repo: SyncRepo): Promise<number> {
  const { rows } = await client.query<{ n: number }>('select sync_failures as n from repos where id = $1', [
    repo.id,
  ]);
  return rows[0]?.n ?? 0;
}
