import { Registry } from 'prom-client';
import type { PullRequest } from '../../../core/approval/facts.js';
import { syncHostsJob } from '../../../jobs/hosts/sync-hosts.js';
import { JobRunner } from '../../../jobs/runner.js';
import { findPullRequest } from '../../../store/queries/pull-requests.js';
import { createTestDatabase, type TestDatabase } from '../../harness/database.js';
import type { GitHost } from '../../harness/git-host.js';

/** The job over a database of its own, with repositories of a test's hosts. */
export interface Syncing {
  database: TestDatabase;
  registry: Registry;
  environment: NodeJS.ProcessEnv;
  /** Adds a repository under the last part of its path, and gives its id. */
  addRepo(kind: 'github' | 'gitlab' | 'gerrit', host: GitHost, project: string): Promise<number>;
  /** Runs the job now, whether or not a repository is due; its error, where it had one. */
  sync(): Promise<string | undefined>;
  /** Runs the job for what is due. */
  run(): Promise<string | undefined>;
  pullRequest(repo: string, number: number): Promise<PullRequest>;
  /** Forgets every repository and fact: quicker than a new database. */
  clear(): Promise<void>;
  stop(): Promise<void>;
}

export async function startSyncing(): Promise<Syncing> {
  const database = await createTestDatabase();
  const registry = new Registry();
  const environment: NodeJS.ProcessEnv = {};
  const silent = () => undefined;
  const job = syncHostsJob({
    credentials: { folder: '/nowhere', environment },
    syncSeconds: 3600,
    registry,
    firstPauseMs: 1,
  });
  const runner = new JobRunner({
    pool: database.pool,
    jobs: [{ ...job, schedule: '0 0 0 1 1 *' }],
    log: { info: silent, warn: silent, error: silent },
    registry,
  });
  const run = async () => (await runner.run('sync-hosts')).error;
  return {
    database,
    registry,
    environment,
    addRepo: async (kind, host, project) => {
      const name = project.split('/').at(-1)!;
      const variable = `WHOCHANGED_CREDENTIAL_${name.toUpperCase().replaceAll('-', '_')}`;
      environment[variable] = host.token;
      const { rows } = await database.pool.query<{ id: number }>(
        `insert into repos (name, url, host_kind, api_url, project, default_branch, credential)
         values ($1, $2, $3, $4, $5, 'main', $6) returning id`,
        [name, `https://git.example.com/${project}.git`, kind, host.apiURL, project, `env:${variable}`],
      );
      return rows[0]!.id;
    },
    sync: async () => {
      await database.pool.query('update repos set sync_requested_at = clock_timestamp()');
      return run();
    },
    run,
    pullRequest: async (repo, number) => {
      const found = await findPullRequest(database.pool, repo, number);
      if (!found) throw new Error(`${repo}#${number} is not there`);
      return found.pullRequest;
    },
    clear: async () => {
      await database.pool.query(
        `truncate repos, host_syncs, host_due, host_etags, pull_requests, pull_request_commits, reviews, permissions,
                  pushes, bypasses, imported_approvals, job_runs restart identity`,
      );
    },
    stop: async () => {
      await runner.stop();
      await database.drop();
    },
  };
}
