import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { chmod, mkdir, readFile } from 'node:fs/promises';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { appendApprovals } from '../store/facts/approvals.js';
import { type AdmissionUser, deploymentReview, postReview } from '../test/harness/admission.js';
import { runCli } from '../test/harness/cli.js';
import { TestRepo } from '../test/harness/git-repo.js';
import { startSystem, webhookToken } from '../test/harness/system.js';
import { percentiles } from './asked.js';
import { poolOf } from './filled-ledger.js';
import { send } from './send.js';

/**
 * `npm run bench:gate -- [requests] [commits]`
 * How long the admission webhook takes, over TLS on kept connections, in each mode and at 1, 4 and 16 requests at a time,
 * while nothing else is asked. Half are of a pipeline with an approved commit, each of another one, a fifth of one with a
 * commit that isn't; a tenth each of a pipeline with a commit that nobody knows, of who has a controller's account, and of a
 * person. Every answer is compared with what it must be.
 */
const requests = Number(process.argv[2] ?? 2000);
const commits = Number(process.argv[3] ?? 200);
const SESSIONS = 10;
const WARM_UP = 200;
const DEPLOYER = 'system:serviceaccount:ci:deployer';
const POLICY = `
name: bench
default: {approvals: 1}
actors:
  - {name: pipeline, kind: ci, users: ['${DEPLOYER}'], claims: {sha: ci/sha, repository: ci/repository}}
importedApprovals: [board]
`;

const folder = mkdtempSync(join(tmpdir(), 'whochanged-gate-'));
await chmod(folder, 0o711);
const data = join(folder, 'data');
await mkdir(data);
await chmod(data, 0o711);
writeFileSync(join(folder, 'policy.yaml'), POLICY);
writeFileSync(
  join(folder, 'people.yaml'),
  'people: {alice: {emails: [alice@example.com]}, bob: {emails: [bob@example.com]}}',
);
const system = await startSystem(
  data,
  {
    WHOCHANGED_GIT_PROTOCOLS: 'file',
    WHOCHANGED_GIT_FETCH_SECONDS: '86400',
    WHOCHANGED_POLICY_FILE: join(folder, 'policy.yaml'),
    WHOCHANGED_IDENTITIES_FILE: join(folder, 'people.yaml'),
  },
  'build',
);
const token = await webhookToken(data);
await send(`${system.http}/ingest/v1/audit/default`, token, 0, SESSIONS, 4);

const repo = new TestRepo();
const shas = Array.from({ length: commits }, (_, n) =>
  repo.commit({ files: { 'web/web.yaml': `a: ${n}\n` } }),
);
const unapproved = repo.commit({ files: { 'web/web.yaml': 'a: none\n' } });
const admin = (await readFile(join(data, 'admin-token'), 'utf8')).trim();
for (const args of [
  ['repo', 'add', 'shop', repo.url],
  ['repo', 'fetch', 'shop'],
]) {
  const { code, stderr } = await runCli(args, {
    folder,
    env: { WHOCHANGED_URL: system.http, WHOCHANGED_TOKEN: admin },
  });
  if (code !== 0) throw new Error(`${args.join(' ')}: ${stderr}`);
}
const pool = poolOf(data);
await appendApprovals(
  pool,
  shas.map((sha, n) => ({
    id: String(n),
    origin: 'board',
    subject: { kind: 'commit', repo: 'shop', sha },
    approver: { name: 'Bob', email: 'bob@example.com' },
    approvedAt: Date.now() * 1000 - 60e6,
  })),
);
await pool.query('update repos set synced_at = now()');

/** The n-th request's user, and whether its verdict refuses it where that is enforced. */
function requester(n: number): { user: AdmissionUser; refused: boolean } {
  const pipeline = (sha: string) => ({
    username: DEPLOYER,
    extra: { 'ci/sha': [sha], 'ci/repository': ['shop'] },
  });
  const kind = n % 10;
  if (kind < 5) return { user: pipeline(shas[n % shas.length]!), refused: false };
  if (kind < 7) return { user: pipeline(unapproved), refused: true };
  if (kind === 7) return { user: pipeline(randomUUID().replaceAll('-', '').padEnd(40, '0')), refused: false };
  // No controller writes a Deployment's containers.
  if (kind === 8)
    return { user: { username: 'system:serviceaccount:kube-system:deployment-controller' }, refused: true };
  return { user: { username: 'alice@example.com' }, refused: true };
}

async function ask(mode: string, n: number): Promise<number> {
  const { user, refused } = requester(n);
  const review = deploymentReview({ uid: randomUUID(), user, image: `web:${n}` });
  const started = performance.now();
  const { json } = await postReview(
    { https: system.https, folder: data },
    `/admission/v1/default/${mode}`,
    review,
    { token },
  );
  const took = performance.now() - started;
  if (json.response?.allowed !== !(refused && mode === 'enforce'))
    throw new Error(`${mode} ${user.username}: ${JSON.stringify(json)}`);
  return took;
}

async function run(mode: string, at: number, count: number): Promise<number[]> {
  const took: number[] = [];
  let next = 0;
  await Promise.all(
    Array.from({ length: at }, async () => {
      while (next < count) took.push(await ask(mode, next++));
    }),
  );
  return took;
}

console.log(
  `${cpus().length} cores (${cpus()[0]?.model}), load ${loadavg()[0]!.toFixed(1)}, Node ${process.version}`,
);
console.log('mode      at a time   p50 ms   p99 ms   max ms   requests/s');
for (const mode of ['audit', 'warn', 'enforce']) {
  await run(mode, 4, WARM_UP);
  for (const at of [1, 4, 16]) {
    const started = performance.now();
    const took = await run(mode, at, requests);
    const seconds = (performance.now() - started) / 1000;
    const { p50, p99, max } = percentiles(took);
    const figures = [p50, p99, max].map((ms) => ms.toFixed(1).padStart(9)).join('');
    console.log(
      `${mode.padEnd(10)}${String(at).padStart(9)}${figures}${Math.round(requests / seconds)
        .toString()
        .padStart(13)}`,
    );
  }
}
const { rows } = await pool.query('select count(*)::int as kept from gate_decisions');
console.log(`${rows[0].kept} decisions kept`);
await pool.end();
await system.stop();
repo.remove();
rmSync(folder, { recursive: true, force: true });
