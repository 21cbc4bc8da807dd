import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Pool, PoolClient } from 'pg';
import { Registry } from 'prom-client';
import { expect } from 'vitest';
import type { ChangeTicket } from '../../core/approval/facts.js';
import { Identities } from '../../core/identity-map/identities.js';
import { redactManifest } from '../../core/redact/redact-manifest.js';
import { attributeJob } from '../../jobs/attribute.js';
import { gitAnswers } from '../../jobs/git/answers.js';
import { fetchReposJob } from '../../jobs/git/fetch-repos.js';
import { createGitMetrics } from '../../jobs/git/metrics.js';
import { syncHostsJob } from '../../jobs/hosts/sync-hosts.js';
import type { Job } from '../../jobs/job.js';
import { linksJob } from '../../jobs/links.js';
import { sequenceLogJob } from '../../jobs/proof-log.js';
import { verdictsJob } from '../../jobs/verdicts.js';
import { upsertTickets } from '../../store/facts/change-tickets.js';
import { readPolicyText } from '../../store/policy-text.js';
import { peopleOf } from '../../store/verdicts/people.js';
import { type GitHost, startGitHost } from '../harness/git-host.js';
import { HELM } from '../harness/helm-chart.js';
import { RecordedCluster, redaction } from '../jobs/recorded-cluster.js';
import { Stage } from './plays.js';
import { makeRepositories, type ScenarioRepo } from './repositories.js';
import { microsOf, readShared, type Scenario } from './scenario.js';

const STAND_IN_HELM = join(import.meta.dirname, '../harness/stand-in-helm.mjs');

/** Scenarios that were told to a database, and judged. */
export interface Told {
  client: PoolClient;
  repositories: Map<Scenario, Map<string, ScenarioRepo>>;
  clusters: Map<Scenario, RecordedCluster>;
  stop(): Promise<void>;
}

/**
 * Tells a database all of some scenarios by the system's own parts, and runs each job once.
 * @param gitDir where mirrors are kept; else in a folder of its own
 */
export async function tellScenarios(
  pool: Pool,
  scenarios: readonly Scenario[],
  gitDir?: string,
): Promise<Told> {
  const folder = await mkdtemp(join(tmpdir(), 'whochanged-scenarios-'));
  const hosts: GitHost[] = [];
  const repositories = new Map<Scenario, Map<string, ScenarioRepo>>();
  const clusters = new Map<Scenario, RecordedCluster>();
  for (const scenario of scenarios) repositories.set(scenario, makeRepositories(scenario));
  const environment: NodeJS.ProcessEnv = {};
  for (const kind of ['github', 'gitlab'] as const) {
    const own = scenarios.filter((scenario) => (scenario.host ?? 'github') === kind);
    const repos = own.flatMap((scenario) => [...repositories.get(scenario)!.values()]);
    const host = await startGitHost(kind, { repos: repos.map((one) => one.host) });
    hosts.push(host);
    environment[`WHOCHANGED_CREDENTIAL_${kind.toUpperCase()}`] = host.token;
    for (const { repo, project } of repos)
      await pool.query(
        `insert into repos (name, url, host_kind, api_url, project, default_branch, credential)
         values ($1, $2, $3, $4, $5, 'main', $6)`,
        [
          project.split('/')[1],
          repo.url,
          kind,
          host.apiURL,
          project,
          `env:WHOCHANGED_CREDENTIAL_${kind.toUpperCase()}`,
        ],
      );
  }
  for (const scenario of scenarios) {
    const cluster = await RecordedCluster.create({ pool }, clusterOf(scenario));
    clusters.set(scenario, cluster);
    const hub = scenario.hub ? await RecordedCluster.create({ pool }, `${clusterOf(scenario)}-hub`) : cluster;
    const stage = new Stage(cluster, repositories.get(scenario)!, hub);
    for (const play of scenario.cluster) await stage.play(play);
  }
  const client = await pool.connect();
  const tickets = scenarios.flatMap(({ tickets: own = [] }) => own.map(ticketOf));
  await upsertTickets(
    client,
    tickets.map((ticket) => ({ ticket })),
    new Date(),
  );
  const credentials = { folder, environment };
  const policy = readPolicyText(readShared('policy.yaml'), 'policy.yaml');
  const { people, robots } = PEOPLE;
  const identities = new Identities([...people, ...robots]);
  const git = gitAnswers(
    gitDir ?? folder,
    pool,
    {
      manifest: (manifest) => redactManifest(manifest, redaction.rules, redaction.digest),
      text: (text) => text,
      id: 'scenarios',
    },
    { helm: HELM ?? STAND_IN_HELM },
  );
  const jobs = [
    fetchReposJob({
      gitDir: gitDir ?? folder,
      protocols: ['file'],
      intervalSeconds: 60,
      timeoutSeconds: 60,
      credentials,
      signers: { allowedSignersFile: undefined, keyringFile: undefined },
      redactText: (text) => text,
      metrics: createGitMetrics(new Registry()),
    }),
    syncHostsJob({ credentials, syncSeconds: 3600, registry: new Registry(), firstPauseMs: 1 }),
    attributeJob(),
    linksJob(async () => policy, git),
    verdictsJob({
      policy: async () => policy,
      git,
      people: peopleOf(identities),
      // So few that what follows from a change is often judged in the batch behind it, while that is written.
      batch: 3,
    }),
    sequenceLogJob(),
  ];
  // A run that a session names is asked for, and tells the commit, a moment later.
  const [fetch, syncHosts, attribute, links, ...rest] = jobs as [Job, Job, Job, Job, ...Job[]];
  for (const job of [fetch, syncHosts, attribute, links, syncHosts, links, ...rest]) await run(client, job);
  return {
    client,
    repositories,
    clusters,
    stop: async () => {
      client.release();
      for (const host of hosts) await host.stop();
      for (const repos of repositories.values()) for (const { repo } of repos.values()) repo.remove();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Everyone's accounts; those of commits are known by their addresses only. */
const PEOPLE = {
  people: ['alice', 'bob', 'carol'].map((id) => ({
    id,
    kind: 'human' as const,
    emails: [`${id}@example.com`],
    logins: [{ host: 'git.example.com', login: id }],
    usernames: [{ username: id }],
    subjects: [],
  })),
  robots: ['renovate', 'rebase-bot'].map((id) => ({
    id,
    kind: 'bot' as const,
    emails: [`${id}@example.com`],
    logins: [{ host: 'git.example.com', login: id }],
    usernames: [],
    subjects: [],
  })),
};

export function clusterOf(scenario: Scenario): string {
  return `${scenario.environment ?? 'production'}-${String(scenario.number).padStart(2, '0')}`;
}

function ticketOf(ticket: Record<string, unknown>): ChangeTicket {
  const time = (name: string) =>
    ticket[name] === undefined ? {} : { [name]: microsOf(ticket[name] as string) };
  return {
    approvers: [],
    configurationItems: [],
    ...(ticket as object),
    ...(ticket.reviewedBy !== undefined && { reviewedBy: { login: ticket.reviewedBy as string } }),
    ...time('windowStart'),
    ...time('windowEnd'),
    ...time('reviewedAt'),
  } as unknown as ChangeTicket;
}

async function run(client: PoolClient, job: Job): Promise<void> {
  const problems: unknown[] = [];
  const note = (fields: object, message: string) => void problems.push([message, fields]);
  await job.runOnce({
    client,
    now: () => new Date(),
    log: { info: () => undefined, warn: note, error: note },
    signal: new AbortController().signal,
  });
  expect(problems).toEqual([]);
}
