import { mkdir } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClientBase } from 'pg';
import type { GitProtocol } from '../../core/git/repo-url.js';
import { type MirroredRepo, recordFetchFailure, takeRepoToFetch } from '../../store/repos.js';
import type { CredentialPlaces } from '../credentials.js';
import { GitHubAppTokens } from '../github-app.js';
import type { Job, JobContext } from '../job.js';
import { type Access, accessTo } from './access.js';
import { describeFetchError } from './fetch-errors.js';
import { type Exclusively, indexRepo } from './index-repo.js';
import type { GitMetrics } from './metrics.js';
import { collectGarbage, fetchMirror, findHeadRef, listRefs, mirrorFolder, prepareMirror } from './mirror.js';
import type { Signers } from './signatures.js';

export const FETCH_REPOS = 'fetch-repos';

/** Repositories fetched at once: a slow host must not keep the others waiting. */
const AT_ONCE = 3;
const LOOK_AGAIN_MS = 1000;

export interface FetchReposOptions {
  /** Where the mirrors are. */
  gitDir: string;
  protocols: readonly GitProtocol[];
  /** How often a repository is fetched. */
  intervalSeconds: number;
  /** How long one fetch may take. */
  timeoutSeconds: number;
  credentials: CredentialPlaces;
  signers: Signers;
  /** Takes secrets out of commit messages. */
  redactText: (text: string) => string;
  metrics: GitMetrics;
  /** Called when a repository has new commits. */
  onNewCommits?: () => void;
}

/**
 * Fetches the mirrors that are due, or asked for by hand, and indexes what is new. A repository that fails records why
 * and keeps none of the others. Rows are new commits.
 */
export function fetchReposJob(options: FetchReposOptions): Job {
  const appTokens = new GitHubAppTokens();
  return {
    name: FETCH_REPOS,
    schedule: '*/5 * * * * *',
    async runOnce(context) {
      await mkdir(options.gitDir, { recursive: true, mode: 0o700 });
      const exclusively = inTurn(context.client);
      const working = new Set<number>();
      let rows = 0;
      const work = async () => {
        while (!context.signal.aborted) {
          const repo = await exclusively((client) =>
            takeRepoToFetch(client, {
              now: context.now(),
              intervalSeconds: options.intervalSeconds,
              except: [...working],
            }),
          );
          if (repo === undefined) {
            // While one is being fetched, which may take an hour, others become due.
            if (working.size === 0) return;
            await sleep(LOOK_AGAIN_MS, undefined, { signal: context.signal }).catch(() => undefined);
            continue;
          }
          working.add(repo.id);
          const added = await fetchRepo(repo, { ...options, appTokens, exclusively }, context);
          working.delete(repo.id);
          rows += added;
          if (added > 0) options.onNewCommits?.();
        }
      };
      await Promise.all(Array.from({ length: AT_ONCE }, work));
      return { rows };
    },
  };
}

async function fetchRepo(
  repo: MirroredRepo,
  options: FetchReposOptions & { appTokens: GitHubAppTokens; exclusively: Exclusively },
  context: JobContext,
): Promise<number> {
  const startedAt = context.now();
  const labels = { repo: repo.name };
  let access: Access | undefined;
  try {
    const folder = mirrorFolder(options.gitDir, repo.id);
    access = await accessTo(repo, options);
    await prepareMirror(folder, repo.url);
    const call = { access, timeoutMs: options.timeoutSeconds * 1000, signal: context.signal };
    await fetchMirror(folder, repo, call);
    const headRef = (await needsHead(folder, repo)) ? await findHeadRef(repo.url, folder, call) : undefined;
    const rows = await indexRepo(folder, repo, {
      exclusively: options.exclusively,
      signers: options.signers,
      redactText: options.redactText,
      startedAt: repo.attemptedAt!,
      headRef,
      signal: context.signal,
    });
    options.metrics.lastFetch.set(labels, startedAt.getTime() / 1000);
    options.metrics.commits.inc(labels, rows);
    if (rows > 0) await collectGarbage(folder, context.signal);
    return rows;
  } catch (error) {
    // The database's own errors are the job's; stopping is nobody's fault.
    if (context.signal.aborted) return 0;
    const text = describeFetchError(error, repo, access?.secrets ?? []);
    options.metrics.errors.inc(labels);
    context.log.warn({ repo: repo.name, reason: text }, 'a repository could not be fetched');
    await options.exclusively((client) => recordFetchFailure(client, repo.id, text));
    return 0;
  } finally {
    options.metrics.duration.observe(labels, (context.now().getTime() - startedAt.getTime()) / 1000);
  }
}

/** Where the default branch isn't known, or is gone. */
async function needsHead(folder: string, repo: MirroredRepo): Promise<boolean> {
  if (repo.headRef === undefined) return true;
  return !(await listRefs(folder)).some((ref) => ref.name === repo.headRef);
}

/** One connection does one thing at a time: transactions of several repositories must not mix. */
function inTurn(client: ClientBase): Exclusively {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const next = last.then(async () => {
      try {
        return await work(client);
      } catch (error) {
        // The next one's work must not fall into a transaction that has failed.
        await client.query('rollback');
        throw error;
      }
    });
    last = next.catch(() => undefined);
    return next;
  };
}
