import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { HELM, type Manifest, RELEASE, renderChart } from '../harness/helm-chart.js';
import { type LiveCluster, startCluster } from './live-cluster.js';

const BIN = process.env.WHOCHANGED_E2E_BIN;
const NAMESPACE = 'audit';

/**
 * The chart as the real helm renders it, applied to a real kube-apiserver, whose controllers make its pods and find what
 * its budgets cover. Nothing runs them: there is no kubelet. Runs as live-cluster.test.ts does, where WHOCHANGED_HELM_BIN
 * names a helm besides; takes a minute.
 */
describe.skipIf(!BIN || !HELM)('the chart on a live cluster', () => {
  let folder: string;
  let cluster: LiveCluster;
  let manifests: Manifest[];

  const kubectl = (...args: string[]) =>
    spawnSync('kubectl', ['--kubeconfig', cluster.kubeconfig, '-n', NAMESPACE, ...args], {
      encoding: 'utf8',
      env: { ...process.env, PATH: `${BIN}:${process.env.PATH}` },
    });
  // biome-ignore lint/suspicious/noExplicitAny: objects of every kind
  const get = (what: string): any[] => {
    const { status, stdout, stderr } = kubectl('get', what, '-o', 'json');
    if (status !== 0) throw new Error(stderr);
    return JSON.parse(stdout).items;
  };

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'whochanged-chart-'));
    const nobody = join(folder, 'webhook.yaml');
    await writeFile(
      nobody,
      'apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: "http://127.0.0.1:9"}}]\n' +
        'contexts: [{name: c, context: {cluster: c, user: ""}}]\ncurrent-context: c\n',
    );
    cluster = await startCluster({ bin: BIN!, folder: join(folder, 'cluster'), webhookKubeconfig: nobody });
    execFileSync('kubectl', ['--kubeconfig', cluster.kubeconfig, 'create', 'namespace', NAMESPACE]);
    manifests = renderChart({
      policy: 'name: live\n',
      networkPolicy: { from: [{ ipBlock: { cidr: '10.0.0.0/16' } }] },
      monitoring: { dashboard: { enabled: true } },
    });
    // An apiserver that is older than 1.21 knows budgets by the version before only, with the same fields as are used here.
    const { stdout } = kubectl('api-versions');
    if (!stdout.split('\n').includes('policy/v1'))
      for (const manifest of manifests)
        if (manifest.apiVersion === 'policy/v1') manifest.apiVersion = 'policy/v1beta1';
    await writeFile(
      join(folder, 'chart.yaml'),
      manifests.map((manifest) => stringify(manifest)).join('---\n'),
    );
  }, 180_000);
  afterAll(async () => {
    await cluster?.stop();
    await rm(folder, { recursive: true, force: true });
  }, 60_000);

  it('is taken as it is, with no field that is not known', async () => {
    const dry = (file: string) =>
      kubectl('create', '--dry-run=server', '--validate=true', '-f', join(folder, file));
    const { status, stdout, stderr } = dry('chart.yaml');
    expect(errorsIn(stderr)).toEqual([]);
    expect(status).toBe(0);
    expect(stdout.trim().split('\n')).toHaveLength(manifests.length);

    const budget = manifests.find(({ kind }) => kind === 'PodDisruptionBudget')!;
    const mistyped = { ...budget, spec: { ...budget.spec, maxUnavailble: 1 } };
    await writeFile(join(folder, 'mistyped.yaml'), stringify(mistyped));
    expect(dry('mistyped.yaml').stderr).toContain('unknown field "maxUnavailble"');
  });

  it('has its pods made, and its budgets cover those of one role', async () => {
    const { status, stderr } = kubectl('apply', '-f', join(folder, 'chart.yaml'));
    expect([status, errorsIn(stderr)]).toEqual([0, []]);
    const rolesOfPods = () =>
      get('pods')
        .map(({ metadata }) => metadata.labels['app.kubernetes.io/component'])
        .sort();
    await expect
      .poll(rolesOfPods, { timeout: 60_000, interval: 1000 })
      .toEqual(['api', 'api', 'ingest', 'ingest', 'jobs', 'jobs']);
    expect(
      get('persistentvolumeclaims')
        .map(({ metadata }) => metadata.name)
        .sort(),
    ).toEqual([`data-${RELEASE}-ingest-0`, `data-${RELEASE}-ingest-1`]);
    const budgets = () =>
      get('poddisruptionbudgets').map(({ metadata, status }) => [
        metadata.name,
        status.expectedPods,
        status.desiredHealthy,
      ]);
    await expect
      .poll(budgets, { timeout: 60_000, interval: 1000 })
      .toEqual(['api', 'ingest', 'jobs'].map((role) => [`${RELEASE}-${role}`, 2, 1]));
    // What an apiserver fills in or cuts away would show as a difference at once.
    const again = kubectl('diff', '-f', join(folder, 'chart.yaml'));
    expect(again).toMatchObject({ status: 0, stdout: '' });
  });
});

/** What kubectl complains of, but for the older version of budgets, which is of our own choice. */
function errorsIn(stderr: string): string[] {
  return stderr.split('\n').filter((line) => line !== '' && !/^Warning: policy\/v1beta1 /.test(line));
}
