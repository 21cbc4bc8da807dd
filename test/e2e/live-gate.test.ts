import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pause } from '../harness/process-group.js';
import { deploymentManifest } from './gitops-repository.js';
import { type Live, startLive } from './live-setup.js';

const BIN = process.env.WHOCHANGED_E2E_BIN;
const POLICY = `
name: live-gate
environments:
  - {name: production, clusters: [live], namespaces: [shop], approvals: 1}
  - {name: ticketed, clusters: [live], namespaces: [bank], changeTicket: {systems: [servicenow]}}
default: {approvals: 1}
`;
const ACCESS = `
grants:
  - to: {kubernetesGroups: ['system:serviceaccounts:auditors']}
    role: operator
  - to: {serviceAccounts: [ci/deployer]}
    role: reader
    clusters: [live]
    namespaces: [shop]
`;
const ADMISSION = `apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
  - name: ValidatingAdmissionWebhook
    configuration:
      apiVersion: apiserver.config.k8s.io/v1
      kind: WebhookAdmissionConfiguration
      kubeConfigFile: KUBECONFIG
`;

interface Decision {
  id: string;
  outcome: string;
  mode: string;
  verdict: string | null;
  username: string;
  object: { name: string };
  event: { changeID: string; code: number | null; agrees: boolean } | null;
}

/**
 * A real kube-apiserver asks the gate before each write, and is asked about its service accounts' tokens. Runs as
 * live-cluster.test.ts does; takes two minutes.
 */
describe.skipIf(!BIN)('the gate and TokenReview on a live cluster', () => {
  let files: string;
  let live: Live;
  let writes = 0;
  const seen = new Set<string>();

  beforeAll(async () => {
    files = await mkdtemp(join(tmpdir(), 'whochanged-gate-'));
    await writeFile(join(files, 'policy.yaml'), POLICY);
    await writeFile(join(files, 'access.yaml'), ACCESS);
    live = await startLive({
      bin: BIN!,
      environment: { WHOCHANGED_POLICY_FILE: join(files, 'policy.yaml') },
      flags: async ({ webhookKubeconfig, cli }) => {
        const made = await cli(['gate', 'kubeconfig', webhookKubeconfig]);
        expect(made).toMatchObject({ code: 0 });
        const kubeconfig = join(files, 'admission-kubeconfig.yaml');
        await writeFile(kubeconfig, made.stdout, { mode: 0o600 });
        const config = join(files, 'admission.yaml');
        await writeFile(config, ADMISSION.replace('KUBECONFIG', kubeconfig));
        return [`--admission-control-config-file=${config}`];
      },
    });
    await live.kube('admin-token', 'POST', '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
      metadata: { name: 'people' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
      subjects: [{ kind: 'Group', apiGroup: 'rbac.authorization.k8s.io', name: 'developers' }],
    });
    for (const namespace of ['shop', 'bank']) {
      await live.kube('admin-token', 'POST', '/api/v1/namespaces', { metadata: { name: namespace } });
      const path = `/apis/apps/v1/namespaces/${namespace}/deployments`;
      const web = deploymentManifest('web', 'web:0', namespace);
      expect((await live.kube('admin-token', 'POST', path, web)).status).toBe(201);
    }
  }, 180_000);
  afterAll(async () => {
    await live?.stop();
    await rm(files, { recursive: true, force: true });
  }, 60_000);

  function kubectl(user: string, ...args: string[]) {
    const { status, stderr } = spawnSync('kubectl', ['--user', user, ...args], {
      env: { ...process.env, PATH: `${BIN}:${process.env.PATH}`, KUBECONFIG: live.cluster.kubeconfig },
      encoding: 'utf8',
    });
    return { status, stderr };
  }

  /** Alice sets an image by hand, which no commit stands behind. */
  const setImage = (namespace = 'shop') =>
    kubectl('alice', '-n', namespace, 'set', 'image', 'deployment/web', `web=web:by-hand-${++writes}`);

  /** Has the apiserver ask by these settings, and waits until it does. */
  async function ask(mode: string, failure: string): Promise<void> {
    const manifest = await live.cli(['gate', 'manifest', 'live', '--mode', mode, '--fail', failure]);
    expect(manifest).toMatchObject({ code: 0 });
    const file = join(files, 'gate.yaml');
    await writeFile(file, manifest.stdout);
    expect(kubectl('admin', 'apply', '-f', file)).toMatchObject({ status: 0 });
    // The apiserver reads its webhooks from a cache.
    await sleep(2500);
  }

  /** The decision about Alice's last write, once its audit event has come. */
  async function decided(): Promise<Decision> {
    const newest = async () => {
      const { items } = (await live.api('/v1/gate/decisions?cluster=live&namespace=shop&limit=20')) as {
        items: Decision[];
      };
      return items.find(
        ({ id, username, object }) =>
          !seen.has(id) && username === 'alice@example.com' && object.name === 'web',
      );
    };
    await expect.poll(async () => (await newest())?.event ?? null, { timeout: 30_000 }).not.toBeNull();
    const decision = (await newest())!;
    seen.add(decision.id);
    return decision;
  }

  it('records, warns and refuses, and ties each decision to what the audit log tells', async () => {
    await ask('audit', 'open');
    expect(setImage()).toEqual({ status: 0, stderr: '' });
    const audited = await decided();
    expect(audited).toMatchObject({
      outcome: 'admitted',
      mode: 'audit',
      verdict: 'out-of-band',
      event: { code: 200, agrees: true },
    });
    const change = await live.api(`/v1/changes/${audited.event!.changeID}`);
    expect(change).toMatchObject({
      actor: { username: 'alice@example.com' },
      gate: [{ id: audited.id, verdict: 'out-of-band' }],
    });

    await ask('warn', 'open');
    const warned = setImage();
    expect(warned).toMatchObject({
      status: 0,
      stderr: expect.stringMatching(/^Warning: whochanged: out-of-band/m),
    });
    expect(await decided()).toMatchObject({ outcome: 'warned', event: { code: 200, agrees: true } });

    await ask('enforce', 'open');
    const refused = setImage();
    expect(refused.status).toBe(1);
    expect(refused.stderr).toMatch(
      /admission webhook "gate\.whochanged\.io" denied the request: .*out-of-band/,
    );
    expect(await decided()).toMatchObject({ outcome: 'denied', event: { code: 403, agrees: true } });
    const state = await live.kube('admin-token', 'GET', '/apis/apps/v1/namespaces/shop/deployments/web');
    expect(state.json.spec.template.spec.containers[0].image).toBe(`web:by-hand-${writes - 1}`);
    // Controllers act on their own under it: what was admitted is rolled out.
    const admitted = `web:by-hand-${writes - 1}`;
    await expect
      .poll(async () => {
        const sets = await live.kube('admin-token', 'GET', '/apis/apps/v1/namespaces/shop/replicasets');
        return JSON.stringify(sets.json);
      })
      .toContain(`"image":"${admitted}"`);
  }, 120_000);

  it('fails open or closed, as was chosen, when Postgres hangs and when whochanged is away', async () => {
    const pid = Number(
      readFileSync(join(live.data, 'postgres/pgdata/postmaster.pid'), 'utf8').split('\n')[0],
    );
    // What a person does where no ticket could cover it is decided without Postgres.
    const hanging = () => {
      const resume = pause(pid);
      try {
        return setImage('bank');
      } finally {
        resume();
      }
    };
    await ask('enforce', 'open');
    const open = hanging();
    expect(open).toMatchObject({ status: 0, stderr: expect.stringMatching(/^Warning: whochanged:/m) });
    await ask('enforce', 'closed');
    const closed = hanging();
    expect(closed.status).toBe(1);
    expect(closed.stderr).toMatch(/denied the request/);

    await live.stopSystem();
    const away = setImage();
    expect(away.status).toBe(1);
    expect(away.stderr).toMatch(/failed calling webhook "gate\.whochanged\.io"/);
    await live.startSystem();
    await ask('enforce', 'open');
    await live.stopSystem();
    expect(setImage().status).toBe(0);
    await live.startSystem();
  }, 180_000);

  it('knows a service account by its token, and what its groups may do', async () => {
    expect(kubectl('admin', 'delete', 'validatingwebhookconfiguration', 'whochanged-gate').status).toBe(0);
    for (const name of ['auditors', 'ci', 'whochanged'])
      await live.kube('admin-token', 'POST', '/api/v1/namespaces', { metadata: { name } });
    await live.kube('admin-token', 'POST', '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
      metadata: { name: 'whochanged-reviews' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'system:auth-delegator' },
      subjects: [{ kind: 'ServiceAccount', name: 'whochanged', namespace: 'whochanged' }],
    });
    const reviewer = await live.serviceAccountToken('whochanged', 'whochanged');
    await writeFile(join(files, 'reviewer'), reviewer, { mode: 0o600 });
    await live.stopSystem();
    await live.startSystem({
      WHOCHANGED_TOKEN_REVIEW_URL: live.cluster.url,
      WHOCHANGED_TOKEN_REVIEW_AUDIENCES: 'whochanged',
      WHOCHANGED_TOKEN_REVIEW_TOKEN_FILE: join(files, 'reviewer'),
      WHOCHANGED_TOKEN_REVIEW_CA_FILE: live.cluster.caFile,
      WHOCHANGED_ACCESS_FILE: join(files, 'access.yaml'),
    });
    const asks = async (token: string, path: string) => {
      const response = await fetch(live.http() + path, { headers: { authorization: `Bearer ${token}` } });
      return { status: response.status, json: (await response.json()) as Record<string, unknown> };
    };
    const auditor = await live.serviceAccountToken('auditors', 'ann', ['whochanged']);
    expect(await asks(auditor, '/v1/whoami')).toMatchObject({
      status: 200,
      json: {
        name: 'system:serviceaccount:auditors:ann',
        groups: expect.arrayContaining(['system:serviceaccounts:auditors']),
        grants: [{ role: 'operator' }],
      },
    });
    expect((await asks(auditor, '/v1/sources')).status).toBe(200);
    // A tenant: what it may ask is of its namespace only.
    const deployer = await live.serviceAccountToken('ci', 'deployer', ['whochanged']);
    const { items } = (await asks(deployer, '/v1/changes?limit=200')).json as {
      items: Array<{ object: { namespace?: string } }>;
    };
    expect(new Set(items.map(({ object }) => object.namespace))).toEqual(new Set(['shop']));
    expect((await asks(deployer, '/v1/sources')).status).toBe(403);
    // Somebody without a grant is told who they are, and no more; a token for the apiserver itself is none for us.
    const stranger = await live.serviceAccountToken('whochanged', 'stranger', ['whochanged']);
    expect((await asks(stranger, '/v1/whoami')).json).toMatchObject({ grants: [] });
    expect((await asks(stranger, '/v1/changes')).status).toBe(403);
    const forApiserver = await live.serviceAccountToken('auditors', 'ann');
    expect((await asks(forApiserver, '/v1/whoami')).status).toBe(401);
    // Answers are believed for ten seconds, and no longer.
    await live.kube('admin-token', 'DELETE', '/api/v1/namespaces/auditors/serviceaccounts/ann');
    await expect
      .poll(async () => (await asks(auditor, '/v1/whoami')).status, { timeout: 25_000, interval: 1000 })
      .toBe(401);
  }, 120_000);
});
