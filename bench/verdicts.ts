import { readFileSync } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import { Identities } from '../core/identity-map/identities.js';
import { redactManifest } from '../core/redact/redact-manifest.js';
import { gitAnswers } from '../jobs/git/answers.js';
import { fetchReposJob } from '../jobs/git/fetch-repos.js';
import { createGitMetrics } from '../jobs/git/metrics.js';
import type { Job } from '../jobs/job.js';
import { linksJob } from '../jobs/links.js';
import { verdictsJob } from '../jobs/verdicts.js';
import { loadRedaction } from '../main/redaction.js';
import { createPool } from '../store/database.js';
import { ensurePartitions, monthOf } from '../store/partitions.js';
import { readPolicyText } from '../store/policy-text.js';
import { peopleOf } from '../store/verdicts/people.js';
import { startSystem } from '../test/harness/system.js';
import { readCpu } from './cpu.js';
import { CHANGES_PER_DEPLOYMENT, Deployments } from './deployments.js';
import { commitsOf, type Deployable, makeHistory } from './history.js';

/**
 * `npm run bench:verdicts -- [changes]`
 * Ties changes to commits and judges them, from nothing and then 1,000 new ones: seconds, CPU and what was said. For
 * 1,000,000 changes there are 50,000 commits in 20 repositories.
 */
const changes = Number(process.argv[2] ?? 1_000_000);
const NEW_CHANGES = 1000;
const REPOS = 20;
const deployments = Math.ceil(changes / CHANGES_PER_DEPLOYMENT);
const later = NEW_CHANGES / CHANGES_PER_DEPLOYMENT;
const pullRequests = Math.ceil((deployments + later) / REPOS / 2);
const START = Date.UTC(2026, 2, 2) * 1000;
const POLICY = `
name: bench
default: {approvals: 1, permission: write}
actors:
  - {name: argocd, kind: argocd, users: ['system:serviceaccount:argocd:argocd-application-controller']}
  - {name: pipeline, kind: ci, users: ['system:serviceaccount:ci:*'], claims: {sha: ci/sha, repository: ci/repository}}
`;

const folder = await mkdtemp(join(tmpdir(), 'whochanged-verdicts-'));
await chmod(folder, 0o711);
const say = (text: string) => process.stderr.write(`${text}\n`);
// For its Postgres, with the schema; nothing is asked of it.
const system = await startSystem(folder, { WHOCHANGED_ROLES: 'api' });
const pool = createPool({
  host: join(folder, 'postgres/run'),
  user: 'whochanged',
  database: 'postgres',
  poolSize: 4,
  applicationName: 'bench',
});
const client = await pool.connect();
const { rows } = await client.query<{ id: number }>("select id from clusters where name = 'default'");
const clusterID = rows[0]!.id;
const made = new Deployments(client, clusterID, START);
await ensurePartitions(
  client,
  [0, 1, 2].map((month) => monthOf(START) + month),
);

const histories: Deployable[][] = [];
for (let i = 0; i < REPOS; i++)
  histories.push(await makeHistory(pool, join(folder, 'origins'), `repo-${i}`, pullRequests, START));
// Deployments go around the repositories, each in the order of its commits.
const order = Array.from(
  { length: deployments + later },
  (_, i) => histories[i % REPOS]![Math.floor(i / REPOS)]!,
);
const { redaction } = await loadRedaction({
  keyFile: join(folder, 'keys/redaction.key'),
  rulesFile: undefined,
});
const gitDir = join(folder, 'git');
const policy = readPolicyText(POLICY, 'the policy');
const jobs: Record<string, Job> = {
  index: fetchReposJob({
    gitDir,
    protocols: ['file'],
    intervalSeconds: 60,
    timeoutSeconds: 600,
    credentials: { folder, environment: {} },
    signers: { allowedSignersFile: undefined, keyringFile: undefined },
    redactText: (text) => text,
    metrics: createGitMetrics(new Registry()),
  }),
  links: linksJob(async () => policy),
  verdicts: verdictsJob({
    policy: async () => policy,
    git: gitAnswers(gitDir, pool, {
      manifest: (object) => redactManifest(object, redaction.rules, redaction.digest),
      text: (text) => text,
      id: undefined,
    }),
    people: peopleOf(
      new Identities(
        ['alice', 'bob', 'carol'].map((id) => ({
          id,
          kind: 'human' as const,
          emails: [`${id}@example.com`],
          logins: [{ host: 'git.example.com', login: id }],
          usernames: [],
          subjects: [],
        })),
      ),
    ),
  }),
};

interface Took {
  seconds: number;
  rows: number;
}

async function run(name: string): Promise<Took> {
  const postgres = () => readCpu(process.pid, folder).postgres;
  const [started, cpu, database] = [performance.now(), process.cpuUsage(), postgres()];
  // As the runner does (jobs/runner.ts).
  if (jobs[name]!.forAnyCluster) await client.query('set plan_cache_mode = force_generic_plan');
  const result = await jobs[name]!.runOnce({
    client,
    now: () => new Date(made.until / 1000 + 3_600_000),
    log: { info: () => undefined, warn: warn, error: warn },
    signal: new AbortController().signal,
  });
  const seconds = (performance.now() - started) / 1000;
  const used = process.cpuUsage(cpu);
  console.log(
    `${name.padEnd(10)}${seconds.toFixed(1).padStart(8)} s${((used.user + used.system) / 1e6).toFixed(1).padStart(8)} s of CPU here${(postgres() - database).toFixed(1).padStart(8)} s in Postgres  ${result.rows} rows`,
  );
  return { seconds, rows: result.rows };
}
function warn(fields: object, message: string): void {
  say(`${message} ${JSON.stringify(fields)}`);
}

console.log(`${deployments * CHANGES_PER_DEPLOYMENT} changes, ${commitsOf(REPOS, pullRequests)} commits`);
await run('index');
for (let i = 0; i < deployments; i++) {
  made.add(order[i]!);
  if (i % 400 === 399 || i === deployments - 1) await made.send();
}
await client.query('vacuum analyze');
say('filled');
const whole = [await run('links'), await run('verdicts')];
console.log(
  `all        ${whole
    .reduce((sum, { seconds }) => sum + seconds, 0)
    .toFixed(1)
    .padStart(7)} s`,
);
for (const deployable of order.slice(deployments)) made.add(deployable);
await made.send();
const steady = [await run('links'), await run('verdicts')];
console.log(
  `${NEW_CHANGES} new   ${steady
    .reduce((sum, { seconds }) => sum + seconds, 0)
    .toFixed(1)
    .padStart(7)} s`,
);
const said = await client.query<{ verdict: string; n: string }>(
  `select verdict || coalesce('(' || reason || ')', '') as verdict, count(*) as n from current_verdicts group by 1 order by 2 desc`,
);
for (const { verdict, n } of said.rows) console.log(`${n.padStart(9)} ${verdict}`);
say(
  `peak memory here: ${Math.round(Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) / 1024)} MB`,
);
client.release();
await pool.end();
await system.stop();
await rm(folder, { recursive: true, force: true });
