import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { PoolClient } from 'pg';
import { Registry } from 'prom-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { ChangeTicket } from '../../core/approval/facts.js';
import { Identities } from '../../core/identity-map/identities.js';
import { parseMicros } from '../../core/timestamp.js';
import { excludedReason, verdictText } from '../../core/verdict/verdict.js';
import type { EventClass } from '../../core/vocabulary.js';
import { attributeJob } from '../../jobs/attribute.js';
import { gitAnswers } from '../../jobs/git/answers.js';
import { fetchReposJob } from '../../jobs/git/fetch-repos.js';
import { createGitMetrics } from '../../jobs/git/metrics.js';
import { syncHostsJob } from '../../jobs/hosts/sync-hosts.js';
import type { Job } from '../../jobs/job.js';
import { linksJob } from '../../jobs/links.js';
import { verdictsJob } from '../../jobs/verdicts.js';
import { upsertTickets } from '../../store/facts/change-tickets.js';
import { readPolicyText } from '../../store/policy-text.js';
import { peopleOf } from '../../store/verdicts/people.js';
import { createTestDatabase, type TestDatabase } from '../harness/database.js';
import { type GitHost, startGitHost } from '../harness/git-host.js';
import { RecordedCluster } from '../jobs/recorded-cluster.js';
import { Stage } from './plays.js';
import { makeRepositories, type ScenarioRepo } from './repositories.js';
import { type Expectation, microsOf, readScenarios, readShared, type Scenario, timeOf } from './scenario.js';

const scenarios = readScenarios();
let database: TestDatabase;
let client: PoolClient;
let folder: string;
const hosts = new Map<string, GitHost>();
const made = new Map<Scenario, Map<string, ScenarioRepo>>();
const clusters = new Map<Scenario, RecordedCluster>();

/** The system's own parts, all of them, over everything that the scenarios tell: one run of each job. */
beforeAll(async () => {
  database = await createTestDatabase();
  folder = await mkdtemp(join(tmpdir(), 'whochanged-scenarios-'));
  for (const scenario of scenarios) made.set(scenario, makeRepositories(scenario));
  const environment: NodeJS.ProcessEnv = {};
  for (const kind of ['github', 'gitlab'] as const) {
    const own = scenarios.filter((scenario) => (scenario.host ?? 'github') === kind);
    const repos = own.flatMap((scenario) => [...made.get(scenario)!.values()]);
    const host = await startGitHost(kind, { repos: repos.map((one) => one.host) });
    hosts.set(kind, host);
    environment[`WHOCHANGED_CREDENTIAL_${kind.toUpperCase()}`] = host.token;
    for (const { repo, project } of repos)
      await database.pool.query(
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
    const cluster = await RecordedCluster.create(database, clusterOf(scenario));
    clusters.set(scenario, cluster);
    const stage = new Stage(cluster, made.get(scenario)!);
    for (const play of scenario.cluster) await stage.play(play);
  }
  client = await database.pool.connect();
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
  const jobs = [
    fetchReposJob({
      gitDir: folder,
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
    linksJob(async () => policy),
    verdictsJob({
      policy: async () => policy,
      git: gitAnswers(folder, database.pool),
      people: peopleOf(identities),
    }),
  ];
  for (const job of jobs) await run(job);
}, 120_000);

afterAll(async () => {
  client?.release();
  for (const host of hosts.values()) await host.stop();
  for (const repos of made.values()) for (const { repo } of repos.values()) repo.remove();
  await database?.drop();
  if (folder) await rm(folder, { recursive: true, force: true });
});

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

function clusterOf(scenario: Scenario): string {
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

async function run(job: Job): Promise<void> {
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

interface Found {
  change_id: string;
  at: string;
  username: string;
  impersonated: string | null;
  verdict: string | null;
  reason: string | null;
  detail: string | null;
  document: {
    commits: Array<{ sha: string }>;
    evidence: Array<{ detail: string }>;
    hazards: string[];
    initiator?: { username?: string };
    triggerChangeID?: string;
  } | null;
  root_verdict: string | null;
  root_reason: string | null;
  rule: string | null;
  strength: string | null;
  shas: string[] | null;
  trigger: string | null;
}

async function find(scenario: Scenario, change: string): Promise<Found> {
  const [object, at] = change.split(' at ') as [string, string];
  const [resource, name] = object.split('/') as [string, string];
  const { rows } = await client.query<Found>(
    `select c.change_id, c.at, u.username, i.username as impersonated, v.verdict, v.reason, v.detail, v.document, v.root_verdict,
            v.root_reason, l.rule, l.strength, l.shas, tu.username as trigger
       from changes c
       join users u on u.cluster_id = c.cluster_id and u.id = c.user_id
       left join users i on i.cluster_id = c.cluster_id and i.id = c.impersonated_user_id
       left join lateral (select * from verdicts w where w.cluster_id = c.cluster_id and w.at = c.at and w.change_id = c.change_id
                           order by id desc limit 1) v on true
       left join links l on l.cluster_id = c.cluster_id and l.at = c.at and l.change_id = c.change_id and l.selected
       left join attributions a on a.cluster_id = c.cluster_id and a.change_id = c.change_id
       left join changes t on t.cluster_id = c.cluster_id and t.at = a.trigger_at and t.change_id = a.trigger_change_id
       left join users tu on tu.cluster_id = t.cluster_id and tu.id = t.user_id
      where c.cluster_id = $1 and c.resource = $2 and c.name = $3 and date_trunc('second', c.at) = $4`,
    [clusters.get(scenario)!.clusterID, resource, name, timeOf(at)],
  );
  expect(
    rows.map((row) => row.change_id),
    `${change}: changes`,
  ).toHaveLength(1);
  return rows[0]!;
}

/** What came of a change, in the words of the scenario: only what it asks for. */
async function outcome(scenario: Scenario, expected: Expectation): Promise<Expectation> {
  const found = await find(scenario, expected.change);
  const names = new Map(
    [...made.get(scenario)!.values()].flatMap(({ shas }) =>
      [...shas].map(([name, sha]) => [sha, name] as const),
    ),
  );
  const text = JSON.stringify([found.detail, found.document]);
  return {
    change: expected.change,
    verdict: verdictText({ verdict: found.verdict ?? 'none', reason: found.reason }),
    ...(expected.link !== undefined && {
      link: found.rule === null ? 'none' : `${found.rule} ${found.strength}`,
    }),
    ...(expected.commits && {
      commits: (found.document?.commits ?? []).map(({ sha }) => names.get(sha) ?? sha).sort(),
    }),
    ...(expected.root !== undefined && {
      root:
        found.root_verdict === null
          ? 'none'
          : verdictText({ verdict: found.root_verdict, reason: found.root_reason }),
    }),
    ...(expected.trigger !== undefined && { trigger: found.trigger ?? 'nobody' }),
    ...(expected.actor !== undefined && {
      actor: found.impersonated === null ? found.username : `${found.username} as ${found.impersonated}`,
    }),
    ...(expected.initiator !== undefined && { initiator: found.document?.initiator?.username ?? 'nobody' }),
    ...(expected.says && { says: expected.says.filter((part) => text.includes(part)) }),
  };
}

describe.each(
  scenarios.map((scenario) => [scenario.file.replace('.yaml', ''), scenario.title, scenario] as const),
)('%s', (_file, title, scenario) => {
  it(title, async () => {
    const found = [];
    for (const expected of scenario.expect) found.push(await outcome(scenario, expected));
    expect(found).toEqual(
      scenario.expect.map((expected) => ({
        ...expected,
        ...(expected.commits && { commits: [...expected.commits].sort() }),
      })),
    );
    const clusterID = clusters.get(scenario)!.clusterID;
    for (const { request, because } of scenario.excluded ?? []) {
      const [uri, at] = request.split(' at ') as [string, string];
      const { rows } = await client.query<{ class: EventClass; change: boolean }>(
        `select e.class, exists (select from changes c where c.cluster_id = $1 and c.at = e.at and c.change_id = e.request_id) as change
           from events e where e.cluster_id = $1 and e.request_uri like $2 and date_trunc('second', e.at) = $3`,
        [clusterID, `%${uri}%`, timeOf(at)],
      );
      expect(rows, request).toEqual([{ class: because, change: false }]);
      expect(excludedReason(because as EventClass)).toBeDefined();
    }
    for (const [object, count] of Object.entries(scenario.count ?? {})) {
      const [resource, name] = object.split('/');
      const { rows } = await client.query<{ n: number }>(
        `select count(*)::int as n from changes where cluster_id = $1 and resource = $2 and name = $3 and class <> 'status'`,
        [clusterID, resource, name],
      );
      expect({ [object]: rows[0]!.n }).toEqual({ [object]: count });
    }
    if (scenario.findings) {
      const { rows } = await client.query<{ kind: string }>(
        'select kind from findings where cluster_id = $1 order by kind',
        [clusterID],
      );
      expect(rows.map(({ kind }) => kind)).toEqual(scenario.findings);
    }
  });
});

it('covers all forty', () => {
  expect(scenarios.map(({ number }) => number)).toEqual(Array.from({ length: 40 }, (_, i) => i + 1));
  expect(parse(readShared('policy.yaml'))).toHaveProperty('name');
  expect(parseMicros(timeOf('09:30'))).toBe(microsOf('09:30'));
});
