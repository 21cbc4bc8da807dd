import { generateKeyPairSync, type KeyObject, randomUUID, sign } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { appendApprovals } from '../../store/facts/approvals.js';
import { deploymentReview, postReview } from '../harness/admission.js';
import { ask } from '../harness/api-client.js';
import { TestRepo } from '../harness/git-repo.js';
import { type RunningApi, startApi } from '../harness/running-api.js';

const POLICY = `
name: gate-test
environments:
  - name: production
    clusters: [default]
    namespaces: [shop]
default: {approvals: 1}
actors:
  - name: pipeline
    kind: ci
    users: ['system:serviceaccount:ci:deployer']
    claims: {sha: ci/sha, repository: ci/repository}
importedApprovals: ['board']
signers:
  - name: builder
    repositories: ['file:*']
    publicKey: KEY
`;
const builder = generateKeyPairSync('ed25519');

let api: RunningApi;
let repo: TestRepo;
let folder: string;
let approved: string;
let unapproved: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'whochanged-gate-'));
  const pem = builder.publicKey.export({ type: 'spki', format: 'pem' });
  writeFileSync(join(folder, 'policy.yaml'), POLICY.replace('KEY', JSON.stringify(pem)));
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
  approved = repo.commit({ files: { 'web.yaml': 'a: 1\n' } });
  unapproved = repo.commit({ files: { 'web.yaml': 'a: 2\n' } });
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
  // The host was asked, and knows of nothing more.
  await api.query('update repos set synced_at = now()');
});
afterAll(async () => {
  await api.stop();
  repo.remove();
  rmSync(folder, { recursive: true });
});

function pipeline(sha: string) {
  return {
    username: 'system:serviceaccount:ci:deployer',
    groups: ['system:serviceaccounts'],
    extra: { 'ci/sha': [sha], 'ci/repository': ['shop'] },
  };
}
const alice = { username: 'alice@example.com', groups: ['developers'] };

async function gate(
  settings: string,
  options: Omit<Parameters<typeof deploymentReview>[0], 'uid' | 'image'>,
) {
  const uid = randomUUID();
  const review = deploymentReview({ uid, image: 'web:1', ...options });
  const answer = await postReview(api, `/admission/v1/default/${settings}`, review, {
    token: api.sourceToken,
  });
  expect([answer.status, answer.json.response?.uid, answer.json]).toEqual([200, uid, answer.json]);
  expect(answer.json).toMatchObject({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview' });
  return answer.json.response;
}

describe('the gate', () => {
  it('refuses what is unapproved when it enforces, and says why', async () => {
    const refused = await gate('enforce', { user: pipeline(unapproved) });
    expect(refused).toMatchObject({
      allowed: false,
      status: { code: 403, message: expect.stringContaining('unapproved(no_pr)') },
      auditAnnotations: {
        decision: expect.stringMatching(/^[0-9a-f-]{36}$/),
        outcome: 'denied (enforce)',
        verdict: 'unapproved(no_pr)',
        environment: 'production',
        policy: expect.stringMatching(/^gate-test@/),
      },
    });
    expect(await gate('enforce', { user: alice })).toMatchObject({
      allowed: false,
      auditAnnotations: { verdict: 'out-of-band' },
    });
  });

  it('admits what is approved', async () => {
    const admitted = await gate('enforce/fail-closed/deny-unknown', { user: pipeline(approved) });
    expect(admitted).toMatchObject({ allowed: true, auditAnnotations: { verdict: 'approved' } });
    expect(admitted.warnings).toBeUndefined();
  });

  it('admits all with a warning, or silently, in the other modes', async () => {
    const warned = await gate('warn', { user: pipeline(unapproved) });
    expect(warned).toMatchObject({
      allowed: true,
      warnings: [expect.stringMatching(/^whochanged: unapproved\(no_pr\): commit /)],
    });
    const audited = await gate('audit', { user: alice });
    expect(audited.allowed).toBe(true);
    expect(audited.warnings).toBeUndefined();
    expect(audited.auditAnnotations.verdict).toBe('out-of-band');
  });

  it('says unknown of what it cannot know, and refuses that only where it is told to', async () => {
    const user = pipeline('0'.repeat(40));
    expect(await gate('enforce', { user })).toMatchObject({
      allowed: true,
      warnings: [expect.stringContaining('unknown(commits_unavailable)')],
    });
    expect((await gate('enforce/deny-unknown', { user })).allowed).toBe(false);
  });

  it('admits what controllers do on their own, and what is no change', async () => {
    const controller = { username: 'system:serviceaccount:kube-system:generic-garbage-collector' };
    expect((await gate('enforce', { user: controller })).auditAnnotations.verdict).toBe(
      'out-of-band(unexpected_write)',
    );
    const review = deploymentReview({ uid: 'u', user: controller, image: 'web:0' }) as {
      request: Record<string, unknown>;
    };
    review.request.operation = 'DELETE';
    review.request.object = null;
    const { json } = await postReview(api, '/admission/v1/default/enforce', review, {
      token: api.sourceToken,
    });
    expect(json.response).toMatchObject({ allowed: true, auditAnnotations: { verdict: 'system' } });
  });

  it('keeps each decision without the object, and none of a dry run', async () => {
    const dry = await gate('enforce', { user: alice, dryRun: true });
    expect(dry.allowed).toBe(false);
    expect(dry.auditAnnotations.decision).toBeUndefined();
    const { auditAnnotations } = await gate('enforce', { user: pipeline(unapproved) });
    await expect
      .poll(async () => (await ask(api, `/v1/gate/decisions/${auditAnnotations.decision}`)).status, {
        timeout: 10_000,
      })
      .toBe(200);
    // They are written in order: the dry run's would be there by now.
    const asked = await api.pool.query('select from gate_decisions where request_uid = $1', [dry.uid]);
    expect(asked.rowCount).toBe(0);
    const kept = await ask(api, `/v1/gate/decisions/${auditAnnotations.decision}`);
    expect(kept.json).toMatchObject({
      outcome: 'denied',
      mode: 'enforce',
      verdict: 'unapproved',
      reason: 'no_pr',
      username: 'system:serviceaccount:ci:deployer',
      object: { group: 'apps', resource: 'deployments', namespace: 'shop', name: 'web' },
      commits: [{ sha: unapproved, state: 'unapproved' }],
      event: null,
    });
    const { rows } = await api.pool.query('select * from gate_decisions');
    expect(JSON.stringify(rows) + api.log()).not.toContain('hunter2');
    expect((await api.cli(['gate', 'list', '--outcome', 'denied'])).stdout).toMatch(
      /denied +enforce +unapproved\(no_pr\) +system:serviceaccount:ci:deployer +update +shop deployments\/web +none/,
    );
  });

  it('is tied to the audit event that carries its id, and to the change', async () => {
    const asked = Date.now();
    const { auditAnnotations } = await gate('warn', { user: alice });
    const { decision } = auditAnnotations;
    // As an apiserver does that reads anew before it refuses: its event names the first decision.
    const again = (await gate('warn', { user: alice })).auditAnnotations.decision;
    await expect
      .poll(async () => (await ask(api, `/v1/gate/decisions/${decision}`)).status, { timeout: 10_000 })
      .toBe(200);
    const micros = (time: number) => new Date(time).toISOString().replace('Z', '000Z');
    const event = {
      kind: 'Event',
      apiVersion: 'audit.k8s.io/v1',
      level: 'RequestResponse',
      auditID: randomUUID(),
      stage: 'ResponseComplete',
      requestURI: '/apis/apps/v1/namespaces/shop/deployments/web',
      verb: 'update',
      user: alice,
      objectRef: {
        resource: 'deployments',
        apiGroup: 'apps',
        apiVersion: 'v1',
        namespace: 'shop',
        name: 'web',
      },
      responseStatus: { code: 200 },
      responseObject: {
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        metadata: { name: 'web', namespace: 'shop', resourceVersion: '42', uid: 'u1' },
        spec: { replicas: 3 },
      },
      requestReceivedTimestamp: micros(asked),
      stageTimestamp: micros(Date.now()),
      annotations: Object.fromEntries(
        Object.entries(auditAnnotations as Record<string, string>).map(([key, value]) => [
          `gate.whochanged.io/${key}`,
          value,
        ]),
      ),
    };
    await api.post(
      JSON.stringify({ kind: 'EventList', apiVersion: 'audit.k8s.io/v1', metadata: {}, items: [event] }),
    );
    await expect
      .poll(async () => (await ask(api, `/v1/gate/decisions/${decision}`)).json.event, { timeout: 30_000 })
      .toMatchObject({ auditID: event.auditID, code: 200, agrees: true });
    const { changeID } = (await ask(api, `/v1/gate/decisions/${decision}`)).json.event;
    const change = await ask(api, `/v1/changes/${changeID}`);
    const told = { outcome: 'warned', verdict: 'out-of-band' };
    expect(change.json.gate).toMatchObject([
      { id: decision, ...told },
      { id: again, ...told },
    ]);
    // Another request of hers, which the audit log never told, stays without an event.
    const lost = (await gate('warn', { user: alice })).auditAnnotations.decision;
    await expect
      .poll(async () => (await ask(api, `/v1/gate/decisions/${lost}`)).status, { timeout: 10_000 })
      .toBe(200);
    await ask(api, '/v1/jobs/link-decisions/run', { method: 'POST' });
    expect((await ask(api, `/v1/gate/decisions/${lost}`)).json.event).toBeNull();
    expect((await api.cli(['show', changeID])).stdout).toMatch(
      new RegExp(`^Gate: +warned \\(warn\\): out-of-band: .*; decision ${decision}$`, 'm'),
    );
  });

  it('knows apiservers as the receiver does: by token or certificate, by source or cluster', async () => {
    const review = deploymentReview({ uid: 'u', user: alice, image: 'web:1' });
    for (const credential of [{}, { token: 'wcs_nothing' }])
      expect((await postReview(api, '/admission/v1/default/audit', review, credential)).status).toBe(401);
    const file = join(folder, 'cert.yaml');
    await api.cli(['source', 'add', 'second', '--cluster', 'default', '--client-cert', '--kubeconfig', file]);
    const { user } = parse(readFileSync(file, 'utf8')).users[0];
    const pem = (name: string) => Buffer.from(user[name], 'base64').toString();
    const credential = { cert: pem('client-certificate-data'), key: pem('client-key-data') };
    for (const name of ['second', 'default'])
      expect((await postReview(api, `/admission/v1/${name}/audit`, review, credential)).status).toBe(200);
    const admission = await api.cli(['gate', 'kubeconfig', file]);
    expect(parse(admission.stdout).users).toEqual([{ name: new URL(api.https).host, user }]);
  });

  it.each([
    ['audit/fail-shut', {}, /the path says "fail-shut"/],
    ['audit', { apiVersion: 'admission.k8s.io/v1beta1' }, /must be admission.k8s.io\/v1/],
    ['audit', { request: { uid: 'x', operation: 'EAT' } }, /request.operation must be one of CREATE/],
    ['audit', { kind: 'Pod' }, /it is no AdmissionReview/],
  ])('refuses what it cannot read (%s %j)', async (settings, part, problem) => {
    const review = { ...deploymentReview({ uid: 'u', user: alice, image: 'x' }), ...part };
    const { status, json } = await postReview(api, `/admission/v1/default/${settings}`, review, {
      token: api.sourceToken,
    });
    expect([status, json.detail]).toEqual([400, expect.stringMatching(problem)]);
  });

  it('prints the manifest that asks it so', async () => {
    const printed = await api.cli(['gate', 'manifest', 'default', '--mode', 'enforce', '--fail', 'closed']);
    expect(printed.code).toBe(0);
    const manifest = parse(printed.stdout);
    expect(manifest.webhooks[0]).toMatchObject({
      name: 'gate.whochanged.io',
      failurePolicy: 'Fail',
      sideEffects: 'NoneOnDryRun',
      admissionReviewVersions: ['v1'],
      clientConfig: { url: `${api.https}/admission/v1/default/enforce/fail-closed/admit-unknown` },
    });
    expect(Buffer.from(manifest.webhooks[0].clientConfig.caBundle, 'base64').toString()).toContain(
      'BEGIN CERTIFICATE',
    );
    expect((await api.cli(['gate', 'manifest', 'nowhere'])).code).toBe(4);
  });
});

describe('verify', () => {
  const env = ['--environment', 'production'];
  it('answers a pipeline by its exit code, with the reason', async () => {
    const yes = await api.cli(['verify', 'commit', approved, ...env]);
    expect([yes.code, yes.stdout]).toEqual([0, expect.stringMatching(/^Verdict: {5}approved$/m)]);
    expect(yes.stdout).toMatch(/^But: .*only the last commit was looked at$/m);
    const no = await api.cli([
      'verify',
      'commit',
      unapproved.slice(0, 10),
      '--cluster',
      'default',
      '-n',
      'shop',
    ]);
    expect([no.code, no.stdout]).toEqual([1, expect.stringContaining('unapproved(no_pr)')]);
    const range = ['verify', 'commit', unapproved, ...env, '--previous', approved, '-o', 'json'];
    expect(JSON.parse((await api.cli(range)).stdout)).toMatchObject({
      passes: false,
      environment: 'production',
      commits: [{ sha: unapproved }],
      hazards: [],
    });
  });

  it('says unknown where nothing ties an image or a commit to anything', async () => {
    for (const asked of [
      ['commit', 'f'.repeat(40)],
      ['image', `web@sha256:${'a'.repeat(64)}`],
    ])
      expect([asked, (await api.cli(['verify', ...asked, ...env])).code]).toEqual([asked, 6]);
    expect((await api.cli(['verify', 'change', randomUUID(), ...env])).code).toBe(4);
    expect(await api.cli(['verify', 'commit', approved, '--environment', 'prod'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('its environments are production, default'),
    });
  });

  it('knows an image by provenance that a signer of the policy signed, and by no other', async () => {
    const digest = 'b'.repeat(64);
    const file = join(folder, 'provenance.json');
    const attest = async (key: KeyObject, sha: string) => {
      writeFileSync(file, JSON.stringify(provenance(key, digest, sha)));
      return api.cli(['gate', 'attest', file]);
    };
    const stranger = generateKeyPairSync('ed25519').privateKey;
    expect(await attest(stranger, approved)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("no signer of the policy signed it\nthe policy's signers are builder"),
    });
    expect(await attest(builder.privateKey, approved)).toMatchObject({ code: 0 });
    const image = ['verify', 'image', `web@sha256:${digest}`, ...env];
    const yes = await api.cli(image);
    expect([yes.code, yes.stdout]).toEqual([0, expect.stringContaining('builder signed that sha256:')]);
    // Built from two commits, as far as is told: both must be approved.
    expect((await attest(builder.privateKey, unapproved)).code).toBe(0);
    expect((await api.cli(image)).code).toBe(1);
  });
});

function provenance(key: KeyObject, digest: string, sha: string): object {
  const type = 'application/vnd.in-toto+json';
  const body = Buffer.from(
    JSON.stringify({
      _type: 'https://in-toto.io/Statement/v1',
      subject: [{ name: 'web', digest: { sha256: digest } }],
      predicateType: 'https://slsa.dev/provenance/v1',
      predicate: {
        buildDefinition: {
          resolvedDependencies: [{ uri: `git+${repo.url}@refs/heads/main`, digest: { gitCommit: sha } }],
        },
        runDetails: { builder: { id: 'https://ci.example.com/runner' } },
      },
    }),
  );
  const encoded = Buffer.concat([Buffer.from(`DSSEv1 ${type.length} ${type} ${body.length} `), body]);
  return {
    payloadType: type,
    payload: body.toString('base64'),
    signatures: [{ keyid: '', sig: sign(null, encoded, key).toString('base64') }],
  };
}
