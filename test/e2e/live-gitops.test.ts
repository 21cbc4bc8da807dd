import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { type GitHost, startGitHost } from '../harness/git-host.js';
import { GitopsControllers } from './gitops-controllers.js';
import { deploymentManifest, GitopsRepository } from './gitops-repository.js';
import { type Live, startLive } from './live-setup.js';

const BIN = process.env.WHOCHANGED_E2E_BIN;
const CRDS = join(import.meta.dirname, 'gitops-crds.yaml');
const PEOPLE = `
people:
  alice: {emails: [alice@example.com], logins: {git.example.com: alice}, usernames: [alice@example.com]}
  bob: {emails: [bob@example.com], logins: {git.example.com: bob}}
`;
const POLICY = `
name: live
environments: [{name: production, clusters: [live], namespaces: [shop], approvals: 1}]
default: {approvals: 1}
`;
const ARGOCD = 'system:serviceaccount:argocd:argocd-application-controller';
const KUSTOMIZE = 'system:serviceaccount:flux-system:kustomize-controller';
const HELM = 'system:serviceaccount:flux-system:helm-controller';

/**
 * From a commit to a verdict on a real kube-apiserver: a real repository, its host's API over HTTP, CRDs of Argo CD and
 * Flux, and their controllers' writes by their own service accounts. Runs as live-cluster.test.ts does; takes two minutes.
 */
describe.skipIf(!BIN)('GitOps on a live cluster', () => {
  const source = new GitopsRepository();
  let live: Live;
  let host: GitHost;

  beforeAll(async () => {
    host = await startGitHost('github', { repos: [source.host] });
    process.env.WHOCHANGED_CREDENTIAL_GITHUB = host.token;
    const files = source.repo.folder;
    await writeFile(`${files}.people.yaml`, PEOPLE);
    await writeFile(`${files}.policy.yaml`, POLICY);
    live = await startLive({
      bin: BIN!,
      environment: {
        WHOCHANGED_GIT_PROTOCOLS: 'file',
        WHOCHANGED_CREDENTIAL_GITHUB: host.token,
        WHOCHANGED_IDENTITIES_FILE: `${files}.people.yaml`,
        WHOCHANGED_POLICY_FILE: `${files}.policy.yaml`,
      },
    });
  }, 180_000);
  afterAll(async () => {
    await live?.stop();
    await host?.stop();
    source.repo.remove();
  }, 60_000);

  it('gives each change the verdict that its commit deserves', async () => {
    const web = (image: string) => ({
      'web/deployment.yaml': JSON.stringify(deploymentManifest('web', image)),
    });
    const api = (image: string) => ({
      'api/deployment.yaml': JSON.stringify(deploymentManifest('api', image)),
    });
    const helmRelease = (version: string) => ({
      apiVersion: 'helm.toolkit.fluxcd.io/v2',
      kind: 'HelmRelease',
      metadata: { name: 'cache', namespace: 'flux-system' },
      spec: {
        interval: '5m',
        targetNamespace: 'shop',
        chart: {
          spec: {
            chart: './charts/cache',
            version,
            sourceRef: { kind: 'GitRepository', name: 'fleet' },
          },
        },
      },
    });
    const release = (version: string) => ({
      'api/release.yaml': JSON.stringify(helmRelease(version)),
      'charts/cache/Chart.yaml': `apiVersion: v2\nname: cache\nversion: ${version}\n`,
    });
    const base = source.reviewed({ ...web('web:1'), ...api('api:1') });
    const approved = source.reviewed(web('web:2'));
    const approvedApi = source.reviewed({ ...api('api:2'), ...release('1.0.0') });
    const unapproved = source.pushed(web('web:3'));
    const unapprovedApi = source.pushed(api('api:3'));

    const controllers = await cast();
    await controllers.createApplication('admin-token');
    await controllers.createFluxObjects();

    await controllers.argocdSync(base, deploymentManifest('web', 'web:1'));
    await controllers.argocdSync(approved, deploymentManifest('web', 'web:2'));
    await edit('web', 's/image: web:2/image: web:hacked/');
    await controllers.argocdSync(approved, deploymentManifest('web', 'web:2'));
    await controllers.argocdSync(unapproved, deploymentManifest('web', 'web:3'));

    await controllers.fluxReconcile(base, [deploymentManifest('api', 'api:1')]);
    await controllers.fluxReconcile(approvedApi, [deploymentManifest('api', 'api:2'), helmRelease('1.0.0')]);
    await controllers.helmUpgrade('cache', deploymentManifest('cache', 'cache:1'), '1.0.0');
    await edit('api', 's/image: api:2/image: api:hacked/');
    // The health check fails, and lastAppliedRevision stays old.
    await controllers.fluxReconcile(unapprovedApi, [deploymentManifest('api', 'api:3')], false);

    // The apiserver keeps its events for a second; what it holds after that is sent with its last batch.
    await sleep(4000);
    const { url, project } = { url: source.repo.url, project: source.host.project };
    const added = await live.cli([
      ...['repo', 'add', 'fleet', url, '--host', 'github', '--project', project, '--api-url', host.apiURL],
      ...['--credential', 'env:WHOCHANGED_CREDENTIAL_GITHUB', '--default-branch', 'main'],
    ]);
    expect(added).toMatchObject({ code: 0 });
    expect(await live.cli(['repo', 'fetch', 'fleet'])).toMatchObject({ code: 0 });
    for (const job of ['sync-hosts', 'attribute', 'links', 'verdicts']) await live.runJob(job);
    // What was judged before the repository was known is judged again, as late evidence.
    const waiting = async () =>
      [...(await told('web')), ...(await told('api'))].filter(([, , verdict]) =>
        verdict!.startsWith('unknown'),
      );
    await expect.poll(waiting, { timeout: 120_000, interval: 2000 }).toEqual([]);

    expect(await told('web')).toEqual([
      [ARGOCD, 'web:1', 'approved', 'argocd exact', base],
      [ARGOCD, 'web:2', 'approved', 'argocd exact', approved],
      ['alice@example.com', 'web:hacked', 'out-of-band', 'none', ''],
      [ARGOCD, 'web:2', 'approved(reapply)', 'argocd exact', approved],
      [ARGOCD, 'web:3', 'unapproved(no_pr)', 'argocd exact', unapproved],
    ]);
    expect(await told('api')).toEqual([
      [KUSTOMIZE, 'api:1', 'approved', 'flux strong', base],
      [KUSTOMIZE, 'api:2', 'approved', 'flux strong', approvedApi],
      ['alice@example.com', 'api:hacked', 'out-of-band', 'none', ''],
      [KUSTOMIZE, 'api:3', 'unapproved(no_pr)', 'flux strong', unapprovedApi],
    ]);
    expect(await told('cache')).toEqual([[HELM, 'cache:1', 'approved', 'helm_release strong', approvedApi]]);
    // What Kubernetes' own controllers made of it inherits from what they carried out.
    const pods = await live.api('/v1/changes?resource=replicasets&namespace=shop&class=derived&limit=200');
    const roots = (pods.items as Item[])
      .filter((item) => item.kind === 'create')
      .map(({ verdict }) => `${verdict?.verdict} of ${verdict?.root?.verdict}`);
    expect(roots.sort()).toContain('system of approved');
    expect(roots).toContain('system of unapproved');
    const shown = await live.cli(['show', (await changes('web')).at(-1)!.id]);
    expect(shown.stdout).toContain(unapproved.slice(0, 7));
  }, 300_000);

  interface Item {
    id: string;
    at: string;
    kind: string;
    class: string;
    actor: { username: string };
    verdict?: { verdict: string; reason?: string; root?: { verdict?: string } };
    link?: { rule: string; strength: string; sources: Array<{ sha?: string }> };
  }

  /** Makes the namespaces, accounts and rights, and returns the controllers. */
  async function cast(): Promise<GitopsControllers> {
    const admin = (path: string, body: unknown) => live.kube('admin-token', 'POST', path, body);
    for (const name of ['argocd', 'flux-system', 'shop'])
      await admin('/api/v1/namespaces', { metadata: { name } });
    for (const crd of parseAllDocuments(readFileSync(CRDS, 'utf8')))
      expect(
        (await admin('/apis/apiextensions.k8s.io/v1/customresourcedefinitions', crd.toJS())).status,
      ).toBe(201);
    const subjects = [
      ...[ARGOCD, KUSTOMIZE, HELM, 'system:serviceaccount:flux-system:source-controller'].map((user) => ({
        kind: 'User',
        apiGroup: 'rbac.authorization.k8s.io',
        name: user,
      })),
      { kind: 'User', apiGroup: 'rbac.authorization.k8s.io', name: 'alice@example.com' },
    ];
    await admin('/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
      metadata: { name: 'gitops' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
      subjects,
    });
    const tokens = {
      argocd: await live.serviceAccountToken('argocd', 'argocd-application-controller'),
      source: await live.serviceAccountToken('flux-system', 'source-controller'),
      kustomize: await live.serviceAccountToken('flux-system', 'kustomize-controller'),
      helm: await live.serviceAccountToken('flux-system', 'helm-controller'),
    };
    const served = () => live.kube('admin-token', 'GET', '/apis/helm.toolkit.fluxcd.io/v2');
    await expect.poll(async () => (await served()).status, { timeout: 30_000 }).toBe(200);
    return new GitopsControllers(live, tokens, source.repo.url);
  }

  /** As a person does it: kubectl edit, with sed for an editor. */
  async function edit(name: string, script: string): Promise<void> {
    await sleep(3000);
    execFileSync(
      'kubectl',
      ['--kubeconfig', live.cluster.kubeconfig, '--user', 'alice', '-n', 'shop', 'edit', 'deployment', name],
      {
        env: { ...process.env, PATH: `${BIN}:${process.env.PATH}`, KUBE_EDITOR: `sed -i '${script}'` },
        stdio: ['ignore', 'ignore', 'inherit'],
      },
    );
  }

  /** A Deployment's changes but status, oldest first. */
  async function changes(name: string): Promise<Item[]> {
    const path = `/v1/changes?resource=deployments&namespace=shop&name=${name}&limit=100`;
    const { items } = (await live.api(path)) as { items: Item[] };
    return items.filter((item) => item.class === 'change').reverse();
  }

  /** Who wrote which image, the verdict, the link and its commit. */
  async function told(name: string): Promise<string[][]> {
    const found = [];
    for (const item of await changes(name)) {
      const at = encodeURIComponent(new Date(Date.parse(item.at) + 1).toISOString());
      const state = await live.api(`/v1/objects/live/apps/deployments/shop/${name}/state?at=${at}`);
      const image = /"image":"([^"]*)"/.exec(JSON.stringify(state))?.[1] ?? 'none';
      const { verdict, link } = item;
      const reason = verdict?.reason === undefined ? '' : `(${verdict.reason})`;
      const text = verdict ? `${verdict.verdict}${reason}` : 'none';
      found.push([
        item.actor.username,
        image,
        text,
        link ? `${link.rule} ${link.strength}` : 'none',
        link?.sources[0]?.sha ?? '',
      ]);
    }
    return found;
  }
});
