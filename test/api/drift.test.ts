import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allItems, ask } from '../harness/api-client.js';
import { type RunningApi, startApi } from '../harness/running-api.js';
import type { GitStep, Play, Scenario } from '../scenarios/scenario.js';
import { clusterOf, type Told, tellScenarios } from '../scenarios/tell.js';

const SHOP: GitStep[] = [
  { push: 'base', by: 'carol', at: '07:00', image: 'web:1' },
  { push: 'next', by: 'alice', at: '08:00', image: 'web:2' },
];
const deployed: Play = { at: '08:10', sync: 'web', revision: 'next', image: 'web:2' };
const edit: Play = { at: '09:00', edit: 'kubectl-edit', by: 'alice', image: 'web:hack' };
const deletion = (by: string): Play => ({
  at: '09:00',
  request: {
    by,
    verb: 'delete',
    resource: 'apps/deployments',
    namespace: 'shop',
    name: 'web',
    uid: 'uid-web',
  },
});
const application = (at: string, by: string, verb: string, automated: object | undefined): Play => ({
  at,
  request: {
    by,
    verb,
    resource: 'argoproj.io/applications',
    namespace: 'argocd',
    name: 'web',
    uid: 'uid-app',
    rv: verb === 'create' ? 50 : 900,
    body: { kind: 'Application', spec: { source: {}, syncPolicy: { ...(automated && { automated }) } } },
  },
});
const settings = (by: string, mark: Record<string, string>): Play => ({
  at: '09:05',
  request: {
    by,
    verb: 'create',
    resource: 'configmaps',
    namespace: 'shop',
    name: 'extra',
    uid: 'uid-extra',
    rv: 500,
    metadata: { annotations: mark },
    body: { kind: 'ConfigMap', apiVersion: 'v1', data: { mode: 'on' } },
  },
});
const MARK = { 'argocd.argoproj.io/tracking-id': 'web:/ConfigMap:shop/extra' };

/** What happened, by what is to come of it. */
interface Expected {
  cluster: Play[];
  git?: GitStep[];
  state: string;
  /** KIND STRENGTH OBJECT ACTOR FIELDS, or the names of commits. */
  findings: string[];
  unknown?: string[];
  note?: string;
}
const PLAYS: Record<string, Expected> = {
  'in sync': { state: 'in_sync', findings: [], cluster: [{ ...deployed }] },
  'an edit': {
    state: 'drifted',
    findings: [
      'changed_outside_git exact apps/deployments shop/web alice spec.template.spec.containers[web].image',
    ],
    cluster: [deployed, edit],
  },
  'an edit that was healed': {
    state: 'in_sync',
    findings: [],
    cluster: [deployed, edit, { ...deployed, at: '09:10' }],
  },
  'a deletion': {
    state: 'drifted',
    findings: ['deleted_outside_git exact apps/deployments shop/web alice'],
    cluster: [deployed, deletion('alice')],
  },
  'a prune': {
    state: 'drifted',
    findings: ['missing exact apps/deployments shop/web'],
    cluster: [
      deployed,
      { ...deletion('system:serviceaccount:argocd:argocd-application-controller'), at: '08:10:03' },
    ],
  },
  'an object that git never had': {
    state: 'drifted',
    findings: ['created_outside_git strong configmaps shop/extra alice'],
    cluster: [deployed, settings('alice', MARK)],
  },
  'an object with a label that anyone sets': {
    state: 'in_sync',
    findings: [],
    cluster: [deployed, settings('alice', {})],
  },
  'a commit that is not deployed': {
    state: 'drifted',
    findings: ['not_deployed strong next'],
    cluster: [{ ...deployed, revision: 'base', image: 'web:1' }],
  },
  'manifests by hand': {
    state: 'drifted',
    findings: ['input_outside_git exact'],
    cluster: [{ ...deployed, manifests: 2 }],
  },
  'a forged record': {
    state: 'unknown',
    findings: ['untrusted_record exact'],
    cluster: [deployed, { at: '09:00', forge: 'web', by: 'mallory', revision: 'next' }],
  },
  'a failed attempt of Flux': {
    state: 'unknown',
    findings: ['sync_failed exact'],
    unknown: ['no sync that went well is recorded'],
    cluster: [
      { at: '08:10', flux: 'web', revision: 'next', image: 'web:2' },
      { at: '09:00', flux: 'web', revision: 'next', image: 'web:2', health: 'fails' },
    ],
  },
  'auto-sync switched off': {
    state: 'in_sync',
    findings: ['auto_sync_off exact alice'],
    cluster: [
      application('08:00', 'carol', 'create', { selfHeal: true }),
      deployed,
      application('09:00', 'alice', 'update', undefined),
    ],
  },
  'a manifest that was never applied': {
    state: 'drifted',
    findings: ['missing strong'],
    git: [
      ...SHOP,
      {
        push: 'more',
        by: 'alice',
        at: '08:05',
        files: {
          'web/settings.yaml': 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: late, namespace: shop}\n',
        },
      },
    ],
    cluster: [application('08:00', 'carol', 'create', { selfHeal: true }), { ...deployed, revision: 'more' }],
  },
  'an autoscaler': {
    state: 'in_sync',
    findings: [],
    note: 'spec.replicas',
    cluster: [
      deployed,
      {
        at: '08:40',
        request: {
          by: 'alice',
          verb: 'create',
          resource: 'autoscaling/horizontalpodautoscalers',
          namespace: 'shop',
          name: 'web',
          uid: 'uid-hpa',
          rv: 500,
          body: {
            kind: 'HorizontalPodAutoscaler',
            spec: { scaleTargetRef: { kind: 'Deployment', name: 'web' }, maxReplicas: 9 },
          },
        },
      },
      {
        at: '09:00',
        request: {
          by: 'system:serviceaccount:kube-system:horizontal-pod-autoscaler',
          verb: 'update',
          resource: 'apps/deployments',
          subresource: 'scale',
          namespace: 'shop',
          name: 'web',
          rv: 700,
          request: { kind: 'Scale', apiVersion: 'autoscaling/v1', spec: { replicas: 7 } },
          response: {
            kind: 'Scale',
            apiVersion: 'autoscaling/v1',
            metadata: { name: 'web', namespace: 'shop', resourceVersion: '700' },
            spec: { replicas: 7 },
          },
        },
      },
    ],
  },
};
const scenarios = Object.entries(PLAYS).map(
  ([title, play], i): Scenario => ({
    number: 60 + i,
    file: `${60 + i}.yaml`,
    title,
    git: { shop: SHOP, ...(play.git && { shop: play.git }) },
    cluster: play.cluster,
    expect: [],
  }),
);
const cluster = (title: string) => clusterOf(scenarios.find((one) => one.title === title)!);

let api: RunningApi;
let told: Told;

beforeAll(async () => {
  // Without the jobs, which would judge by the built-in policy meanwhile.
  api = await startApi({ WHOCHANGED_ROLES: 'ingest,api' });
  told = await tellScenarios(api.pool, scenarios, join(api.folder, 'git'));
});
afterAll(async () => {
  await told?.stop();
  await api?.stop();
});

interface Finding {
  kind: string;
  strength: string;
  object?: { text: string };
  change?: { actor: string; id: string };
  fields?: string[];
  commits?: Array<{ sha: string }>;
}

function line(title: string, finding: Finding): string {
  const { shas } = told.repositories.get(scenarios.find((one) => one.title === title)!)!.get('shop')!;
  const names = new Map([...shas].map(([name, sha]) => [sha, name]));
  return [
    finding.kind,
    finding.strength,
    finding.object?.text,
    finding.change?.actor,
    ...(finding.fields ?? []),
    ...(finding.commits ?? []).map(({ sha }) => names.get(sha)),
  ]
    .filter(Boolean)
    .join(' ');
}

describe('drift of an application with', () => {
  it.each(Object.entries(PLAYS))('%s', async (title, expected) => {
    const { json } = await ask(api, `/v1/drift?cluster=${cluster(title)}`);
    expect(json.items).toHaveLength(1);
    const [{ state, findings, unknowns, notes }] = json.items;
    expect({ state, findings: findings.map((finding: Finding) => line(title, finding)) }).toEqual({
      state: expected.state,
      findings: expected.findings,
    });
    expect(unknowns.map(({ reason }: { reason: string }) => reason)).toEqual(expected.unknown ?? []);
    expect(notes).toEqual(expected.note === undefined ? [] : [expect.stringContaining(expected.note)]);
    for (const { change } of findings as Finding[])
      if (change) expect((await ask(api, `/v1/changes/${change.id}`)).json.actor.username).toBe(change.actor);
  });
});

it('is told on the command line, with an exit code', async () => {
  const run = (title: string, ...more: string[]) =>
    api.cli(['drift', '--cluster', cluster(title), '--utc', ...more]);
  const edited = await run('an edit', 'web');
  expect(edited.code).toBe(1);
  expect(edited.stdout).toMatch(/^State: +drifted$/m);
  expect(edited.stdout).toMatch(/alice changed spec\.template\.spec\.containers\[web\]\.image: out-of-band/);
  expect((await run('in sync')).code).toBe(0);
  expect((await run('a forged record')).code).toBe(6);
  expect((await run('in sync', 'nothing')).code).toBe(4);
  const { stdout } = await api.cli(['applications', '--cluster', cluster('auto-sync switched off')]);
  expect(stdout).toMatch(/argocd +argocd\/web .*manual sync/);
});

it('lists all applications in pages that neither repeat nor skip', async () => {
  const names = (items: Array<{ cluster: string; engine: string }>) =>
    items.map((item) => `${item.cluster} ${item.engine}`);
  const all = await allItems(api, '/v1/applications', 200);
  expect(names(all)).toHaveLength(scenarios.length);
  expect(names(await allItems(api, '/v1/applications', 3))).toEqual(names(all));
  expect(names(await allItems(api, '/v1/applications?engine=flux', 50))).toEqual([
    `${cluster('a failed attempt of Flux')} flux`,
  ]);
});

it('tells a tenant nothing of others, and of repositories nothing', async () => {
  const body = {
    name: 'argocd',
    role: 'reader',
    clusters: [cluster('an edit')],
    namespaces: ['argocd', 'shop'],
  };
  const { token } = (await ask(api, '/v1/tokens', { method: 'POST', body })).json;
  const { json } = await ask(api, '/v1/drift', { token });
  expect(json.items).toHaveLength(1);
  expect(json.items[0].application.cluster).toBe(cluster('an edit'));
  // Against what git last wrote, which it may see.
  expect(json.items[0].findings.map(({ kind }: Finding) => kind)).toEqual(['changed_outside_git']);
  expect(json.items[0].unknowns).toMatchObject([{ reason: 'you may not see repositories' }]);
  const shop = { ...body, name: 'shop', namespaces: ['shop'] };
  const other = (await ask(api, '/v1/tokens', { method: 'POST', body: shop })).json.token;
  expect((await ask(api, '/v1/drift', { token: other })).json.items).toEqual([]);
});
