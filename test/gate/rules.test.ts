import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { ChangeTicket } from '../../core/approval/facts.js';
import { appendApprovals } from '../../store/facts/approvals.js';
import { upsertTickets } from '../../store/facts/change-tickets.js';
import { type AdmissionUser, deploymentReview, postReview } from '../harness/admission.js';
import { TestRepo } from '../harness/git-repo.js';
import { type RunningApi, startApi } from '../harness/running-api.js';

const POLICY = `
name: gate-rules
environments:
  - name: ticketed
    namespaces: ['ticketed-*']
    changeTicket: {systems: [servicenow], match: [namespace]}
default: {approvals: 1}
actors:
  - {name: argocd, kind: argocd, users: ['system:serviceaccount:argocd:argocd-application-controller']}
  - {name: pipeline, kind: ci, users: ['system:serviceaccount:ci:deployer'], claims: {sha: ci/sha, repository: ci/repository}}
importedApprovals: [board]
breakGlass:
  groups: [break-glass]
  ticketSystems: [pagerduty]
  ticketKinds: [incident]
`;
const ARGOCD = 'system:serviceaccount:argocd:argocd-application-controller';
const HOUR = 3_600 * 1e6;

let api: RunningApi;
let repo: TestRepo;
let folder: string;
let approved: string;
let unapproved: string;

const ticket = (id: string, more: Partial<ChangeTicket>): ChangeTicket => ({
  system: 'servicenow',
  id,
  kind: 'normal',
  state: 'scheduled',
  approved: true,
  approvers: [],
  configurationItems: [],
  windowStart: Date.now() * 1000 - 2 * HOUR,
  windowEnd: Date.now() * 1000 + 2 * HOUR,
  ...more,
});
async function tell(...tickets: ChangeTicket[]): Promise<void> {
  const client = await api.pool.connect();
  await upsertTickets(
    client,
    tickets.map((one) => ({ ticket: one })),
    new Date(),
  );
  client.release();
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'whochanged-gate-'));
  writeFileSync(join(folder, 'policy.yaml'), POLICY);
  writeFileSync(
    join(folder, 'people.yaml'),
    'people: {alice: {emails: [alice@example.com]}, bob: {emails: [bob@example.com]}}',
  );
  api = await startApi({
    WHOCHANGED_GIT_PROTOCOLS: 'file',
    WHOCHANGED_GIT_FETCH_SECONDS: '86400',
    WHOCHANGED_POLICY_FILE: join(folder, 'policy.yaml'),
    WHOCHANGED_IDENTITIES_FILE: join(folder, 'people.yaml'),
  });
  repo = new TestRepo();
  approved = repo.commit({ files: { 'web/web.yaml': 'a: 1\n' } });
  unapproved = repo.commit({ files: { 'web/web.yaml': 'a: 2\n' } });
  await api.cli(['repo', 'add', 'shop', repo.url]);
  expect((await api.cli(['repo', 'fetch', 'shop'])).code).toBe(0);
  await appendApprovals(api.pool, [
    {
      id: '1',
      origin: 'board',
      subject: { kind: 'commit', repo: 'shop', sha: approved },
      approver: { name: 'Bob', email: 'bob@example.com' },
      approvedAt: Date.now() * 1000 - 60e6,
    },
  ]);
  await api.query('update repos set synced_at = now()');
  await tell(
    ticket('CHG-open', { configurationItems: ['ticketed-open'] }),
    ticket('CHG-over', { configurationItems: ['ticketed-over'], windowEnd: Date.now() * 1000 - HOUR }),
  );
});
afterAll(async () => {
  await api?.stop();
  repo?.remove();
  rmSync(folder, { recursive: true, force: true });
});

async function gate(user: AdmissionUser, more: Partial<Parameters<typeof deploymentReview>[0]> = {}) {
  const review = deploymentReview({ uid: randomUUID(), user, image: 'web:1', ...more });
  const { json } = await postReview(api, '/admission/v1/default/enforce/deny-unknown', review, {
    token: api.sourceToken,
  });
  const { allowed, auditAnnotations, status } = json.response;
  return { allowed, verdict: auditAnnotations.verdict, message: status?.message as string | undefined };
}

it('asks for a change ticket whose window is open', async () => {
  const pipeline = {
    username: 'system:serviceaccount:ci:deployer',
    extra: { 'ci/sha': [approved], 'ci/repository': ['shop'] },
  };
  expect(await gate(pipeline, { namespace: 'ticketed-open' })).toMatchObject({
    allowed: true,
    verdict: 'approved',
  });
  expect(await gate(pipeline, { namespace: 'ticketed-over' })).toMatchObject({
    allowed: false,
    verdict: 'unapproved(expired_window)',
    message: expect.stringContaining('ticket CHG-over was for '),
  });
  expect(await gate(pipeline, { namespace: 'ticketed-none' })).toMatchObject({
    allowed: false,
    message: expect.stringContaining('no ticket of servicenow is for this'),
  });
  // Elsewhere none is asked for.
  expect(await gate(pipeline, { namespace: 'shop' })).toMatchObject({ allowed: true });
});

it('admits an emergency identity under an incident, and under none refuses it', async () => {
  const emergency = { username: 'alice@example.com', groups: ['break-glass'] };
  await tell(
    ticket('INC-over', { system: 'pagerduty', kind: 'incident', windowEnd: Date.now() * 1000 - HOUR }),
  );
  expect(await gate(emergency)).toMatchObject({
    allowed: false,
    verdict: 'out-of-band',
    message: expect.stringContaining('no emergency ticket covers it'),
  });
  await tell(ticket('INC-now', { system: 'pagerduty', kind: 'incident' }));
  // What was just looked up counts for a moment.
  await expect
    .poll(() => gate(emergency), { timeout: 10_000, interval: 500 })
    .toMatchObject({ allowed: true, verdict: 'break-glass(pending)' });
  // An incident helps nobody else.
  expect(await gate({ username: 'alice@example.com', groups: ['developers'] })).toMatchObject({
    allowed: false,
    verdict: 'out-of-band',
  });
});

/** The Application as its controller records a sync of a revision. */
async function recordSync(revision: string, phase: 'Running' | 'Succeeded', startedAt: string, rv: number) {
  const at = new Date().toISOString().replace('Z', '000Z');
  const source = { repoURL: repo.url, path: 'web', targetRevision: 'main' };
  const state = {
    operation: { initiatedBy: { automated: true }, sync: { revision } },
    phase,
    startedAt,
    ...(phase === 'Succeeded' && {
      finishedAt: at,
      syncResult: {
        revision,
        source,
        resources: [{ group: 'apps', version: 'v1', kind: 'Deployment', namespace: 'shop', name: 'web' }],
      },
    }),
  };
  const event = {
    kind: 'Event',
    apiVersion: 'audit.k8s.io/v1',
    level: 'RequestResponse',
    auditID: randomUUID(),
    stage: 'ResponseComplete',
    requestURI: '/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/web',
    verb: 'patch',
    user: { username: ARGOCD, groups: ['system:authenticated'] },
    objectRef: {
      resource: 'applications',
      apiGroup: 'argoproj.io',
      apiVersion: 'v1alpha1',
      namespace: 'argocd',
      name: 'web',
    },
    responseStatus: { code: 200 },
    responseObject: {
      apiVersion: 'argoproj.io/v1alpha1',
      kind: 'Application',
      metadata: { name: 'web', namespace: 'argocd', uid: 'uid-app', resourceVersion: String(rv) },
      spec: { source },
      status: { operationState: state },
    },
    requestReceivedTimestamp: at,
    stageTimestamp: at,
  };
  await api.post(
    JSON.stringify({ kind: 'EventList', apiVersion: 'audit.k8s.io/v1', metadata: {}, items: [event] }),
  );
  await expect
    .poll(
      async () =>
        (
          await api.pool.query('select phase from syncs where name = $1 order by started_at desc limit 1', [
            'web',
          ])
        ).rows[0]?.phase,
      { timeout: 30_000, interval: 250 },
    )
    .toBe(phase === 'Running' ? 'running' : 'succeeded');
}

it('judges what a controller writes by the sync that goes on', async () => {
  const controller = { username: ARGOCD };
  const tracked = { annotations: { 'argocd.argoproj.io/tracking-id': 'web:apps/Deployment:shop/web' } };
  const second = (seconds: number) => `${new Date(Date.now() + seconds * 1000).toISOString().slice(0, 19)}Z`;
  // Nothing is known to go on: the record may not have come yet.
  expect(await gate(controller, tracked)).toMatchObject({
    allowed: false,
    message: expect.stringContaining('no record of a sync that goes on has come yet'),
  });
  const started = second(-1);
  await recordSync(approved, 'Running', started, 100);
  const judged = (verdict: string) =>
    expect
      .poll(() => gate(controller, tracked), { timeout: 10_000, interval: 500 })
      .toMatchObject({ verdict });
  await judged('approved');
  // A copied mark is another object's.
  const copied = { annotations: { 'argocd.argoproj.io/tracking-id': 'web:apps/Deployment:shop/other' } };
  expect((await gate(controller, copied)).allowed).toBe(false);
  await recordSync(approved, 'Succeeded', started, 101);
  await judged('unknown(no_link)');
  await recordSync(unapproved, 'Running', second(0), 102);
  await judged('unapproved(no_pr)');
  expect((await gate(controller, tracked)).allowed).toBe(false);
}, 120_000);
