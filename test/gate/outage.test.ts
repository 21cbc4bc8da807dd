import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { deploymentReview, postReview } from '../harness/admission.js';
import { createTestDatabase, type TestDatabase } from '../harness/database.js';
import { type RunningApi, startApi } from '../harness/running-api.js';
import { startPostgresProxy, type TcpProxy } from '../harness/tcp-proxy.js';

const POLICY = `
name: outage
default: {approvals: 1}
actors:
  - {name: pipeline, kind: ci, users: ['system:serviceaccount:ci:deployer'], claims: {sha: ci/sha, repository: ci/repository}}
`;
const DEADLINE_MS = 500;

let folder: string;
let database: TestDatabase;
let proxy: TcpProxy & { url: string };
let api: RunningApi;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'whochanged-gate-'));
  writeFileSync(join(folder, 'policy.yaml'), POLICY);
  database = await createTestDatabase();
  proxy = await startPostgresProxy(database.url);
  api = await startApi({
    DATABASE_URL: proxy.url,
    WHOCHANGED_POLICY_FILE: join(folder, 'policy.yaml'),
    WHOCHANGED_GATE_DEADLINE_MS: String(DEADLINE_MS),
  });
});
afterAll(async () => {
  await api?.stop();
  await proxy?.stop();
  await database?.drop();
  rmSync(folder, { recursive: true, force: true });
});

/** Each of another commit, so that nothing of it is remembered. */
async function ask(settings: string, username = 'system:serviceaccount:ci:deployer') {
  const uid = randomUUID();
  const sha = randomUUID().replaceAll('-', '').padEnd(40, '0');
  const user = { username, extra: { 'ci/sha': [sha], 'ci/repository': ['shop'] } };
  const started = performance.now();
  const { status, json } = await postReview(
    api,
    `/admission/v1/default/${settings}`,
    deploymentReview({ uid, user, image: 'web:1' }),
    { token: api.sourceToken },
  );
  expect([status, json.response?.uid]).toEqual([200, uid]);
  return { ...json.response, tookMs: performance.now() - started };
}

it('fails open or closed as it is set while Postgres is away, in time, and keeps what it decided', async () => {
  expect((await ask('enforce')).auditAnnotations.verdict).toBe('unknown(commits_unavailable)');
  proxy.set('refuse');
  const open = await ask('enforce/fail-open');
  expect(open).toMatchObject({
    allowed: true,
    warnings: [expect.stringMatching(/^whochanged: undecided: /)],
    auditAnnotations: { outcome: 'failed_open (enforce)', verdict: 'undecided' },
  });
  const closed = await ask('enforce/fail-closed');
  expect(closed).toMatchObject({
    allowed: false,
    status: { code: 503, message: expect.stringContaining('nothing can be said') },
    auditAnnotations: { outcome: 'failed_closed (enforce)' },
  });
  // Those that never refuse don't do so now.
  for (const mode of ['audit', 'warn']) expect((await ask(`${mode}/fail-closed`)).allowed).toBe(true);
  for (const { tookMs } of [open, closed]) expect(tookMs).toBeLessThan(DEADLINE_MS + 1500);
  // What takes no evidence is told all the same.
  expect(await ask('enforce/fail-open', 'alice@example.com')).toMatchObject({
    allowed: false,
    auditAnnotations: { verdict: 'out-of-band' },
  });
  proxy.set('pass');
  const outcomes = async () => {
    const { rows } = await database.pool.query<{ id: string; outcome: string }>(
      'select id, outcome from gate_decisions where id = any($1::uuid[])',
      [[open, closed].map(({ auditAnnotations }) => auditAnnotations.decision)],
    );
    return rows.map(({ outcome }) => outcome).sort();
  };
  await expect.poll(outcomes, { timeout: 20_000 }).toEqual(['failed_closed', 'failed_open']);
  expect((await ask('enforce')).auditAnnotations.verdict).toBe('unknown(commits_unavailable)');
});
