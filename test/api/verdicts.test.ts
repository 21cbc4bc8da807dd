import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allItems, ask } from '../harness/api-client.js';
import { type RunningApi, startApi } from '../harness/running-api.js';
import { readScenarios, readShared, type Scenario } from '../scenarios/scenario.js';
import { clusterOf, type Told, tellScenarios } from '../scenarios/tell.js';

/** 1 approved; 4 stale; 19 an edit and self-heal; 23 an override; 26 consequences; 38 a rollback. */
const NUMBERS = [1, 4, 19, 23, 26, 38];

const PEOPLE = `
people:
  alice: {name: Alice Adams, emails: [alice@example.com]}
  carol: {usernames: [carol]}
robots:
  argo: {serviceAccounts: [argocd/argocd-application-controller]}
`;

let folder: string;
let api: RunningApi;
let told: Told;
const scenarios = readScenarios().filter(({ number }) => NUMBERS.includes(number));
const scenario = (number: number): Scenario => scenarios.find((one) => one.number === number)!;
const cluster = (number: number) => clusterOf(scenario(number));
const sha = (number: number, name: string) =>
  told.repositories.get(scenario(number))!.get('shop')!.shas.get(name)!;

beforeAll(async () => {
  // Without the jobs, which would judge by the built-in policy meanwhile.
  folder = mkdtempSync(join(tmpdir(), 'whochanged-people-'));
  const people = join(folder, 'people.yaml');
  writeFileSync(people, PEOPLE);
  api = await startApi({ WHOCHANGED_ROLES: 'ingest,api', WHOCHANGED_IDENTITIES_FILE: people });
  told = await tellScenarios(api.pool, scenarios);
});
afterAll(async () => {
  await told?.stop();
  await api?.stop();
  rmSync(folder, { recursive: true, force: true });
});

// biome-ignore lint/suspicious/noExplicitAny: answers of every shape
const changeAt = async (number: number, at: string): Promise<any> => {
  const items = await allItems(api, `/v1/changes?cluster=${cluster(number)}&resource=deployments`, 100);
  const { id } = items.find((item) => item.at.startsWith(`2026-03-02T${at}`));
  return (await ask(api, `/v1/changes/${id}`)).json;
};

describe('a change', () => {
  it('tells its commit, its approval and its verdict, in a list too', async () => {
    const change = await changeAt(1, '09:30:02');
    const merge = sha(1, 'm7');
    const short = {
      link: { rule: 'argocd', strength: 'exact', sources: [{ sha: merge }] },
      approval: { approvers: ['bob'], pullRequests: [{ number: 7 }] },
      verdict: { verdict: 'approved', environment: 'default', final: true },
    };
    expect(change).toMatchObject(short);
    const [listed] = (await ask(api, `/v1/changes?cluster=${cluster(1)}&resource=deployments&limit=1`)).json
      .items;
    expect(listed).toMatchObject(short);
    expect(change.links).toMatchObject(
      [{ rule: 'argocd', selected: true, evidence: [{ kind: 'sync' }, {}, {}] }].map(
        ({ evidence: _, ...link }) => link,
      ),
    );
    expect(change.links[0].evidence.length).toBeGreaterThan(0);
    expect(change.verdicts).toHaveLength(1);
    expect(change.verdicts[0].commits.map((commit: { sha: string }) => commit.sha).sort()).toEqual(
      [sha(1, 'c1'), merge].sort(),
    );
  });

  it('is found by its verdict, by a commit that it brought, and by a pull request', async () => {
    const at = async (query: string) =>
      (await allItems(api, `/v1/changes?${query}`, 2)).map(
        (item) => `${item.cluster} ${item.at.slice(11, 19)}`,
      );
    expect(await at(`verdict=unapproved&cluster=${cluster(4)}`)).toContain(`${cluster(4)} 09:30:02`);
    expect(await at(`commit=${sha(1, 'c1')}&all=true&cluster=${cluster(1)}`)).toEqual([
      `${cluster(1)} 09:30:02`,
    ]);
    expect(await at(`commit=${sha(1, 'm7').slice(0, 9)}&cluster=${cluster(1)}`)).toEqual([
      `${cluster(1)} 09:30:02`,
    ]);
    expect(await at('pr=s01-shop%237')).toEqual([`${cluster(1)} 09:30:02`]);
    expect(await at('pr=acme/s04-shop%237')).toEqual([`${cluster(4)} 09:30:02`]);
    const wrong = await ask(api, '/v1/changes?commit=main');
    expect([wrong.status, wrong.json.detail]).toEqual([400, 'commit: "main" is no SHA']);
  });

  it('of a controller tells what is said of its root', async () => {
    const items = await allItems(api, `/v1/changes?cluster=${cluster(26)}&resource=pods&class=derived`, 100);
    expect(items.map(({ verdict }) => [verdict.verdict, verdict.root.verdict])).toEqual([
      ['system', 'out-of-band'],
      ['system', 'approved'],
    ]);
  });
});

it('tells who was behind a change, from the request back to its commits, as far as anybody declared who is who', async () => {
  const change = await changeAt(38, '10:30:02');
  const known = change.people.map(
    (one: { role: string; name: string; person?: { id: string; by: string } }) => [
      one.role,
      one.name,
      one.person && `${one.person.id} by ${one.person.by}`,
    ],
  );
  const argocd = 'system:serviceaccount:argocd:argocd-application-controller';
  // Which of the two commits is judged first is not said.
  expect(known.toSorted()).toEqual(
    [
      ['user', argocd, 'argo by username'],
      ['sync_initiator', 'carol', 'carol by username'],
      ['commit_author', 'alice@example.com', 'alice by email'],
      ['commit_author', 'bob@example.com', undefined],
      ['committer', 'alice@example.com', 'alice by email'],
      ['committer', 'bob@example.com', undefined],
      ['approver', 'bob', undefined],
    ].toSorted(),
  );
  expect(change.people[0]).toMatchObject({
    controller: 'argocd',
    serviceAccount: { namespace: 'argocd', name: 'argocd-application-controller' },
  });
  const shown = await api.cli(['show', change.id, '--utc']);
  expect(shown.stdout).toMatch(
    /Behind it: .*sync initiator carol = carol; commit author .*alice@example.com = Alice Adams/,
  );
});

describe('verdicts', () => {
  it('are listed in pages that neither repeat nor skip, and exported whole', async () => {
    const all = await allItems(api, '/v1/verdicts', 1000);
    expect(all.length).toBeGreaterThan(20);
    expect(await allItems(api, '/v1/verdicts', 3)).toEqual(all);
    const lines = (await ask(api, '/v1/verdicts.ndjson')).text.trim().split('\n');
    const ids = (items: Array<{ change: { id: string } }>) => items.map(({ change }) => change.id).sort();
    expect(ids(lines.map((line) => JSON.parse(line)))).toEqual(ids(all));
    const csv = (await ask(api, '/v1/verdicts.csv?verdict=unapproved')).text.trim().split('\r\n');
    expect(csv[0]).toMatch(/^at,cluster,environment,/);
    expect(csv.slice(1).every((line) => line.includes(',unapproved,'))).toBe(true);
  });

  it('are found by what they say, where and when', async () => {
    const found = async (query: string) =>
      (await allItems(api, `/v1/verdicts?${query}`, 100)).map(
        (item) => `${item.change.cluster} ${item.reason}`,
      );
    expect(await found('reason=stale')).toEqual([`${cluster(4)} stale`]);
    expect(await found('reason=rollback&verdict=approved&environment=default')).toEqual([
      `${cluster(38)} rollback`,
    ]);
    expect(await found('reason=stale&environment=nowhere')).toEqual([]);
    expect(await found('reason=stale&until=2026-03-02T09:00:00Z')).toEqual([]);
  });

  it('are a tenant’s only where the change is', async () => {
    const body = { name: 'shop-1', role: 'reader', clusters: [cluster(1)], namespaces: ['shop'] };
    const { token } = (await ask(api, '/v1/tokens', { method: 'POST', body })).json;
    const own = (await ask(api, '/v1/verdicts?limit=1000', { token })).json.items;
    expect(own.length).toBeGreaterThan(0);
    expect(
      own.every(
        (item: { change: { cluster: string; object: { namespace: string } } }) =>
          item.change.cluster === cluster(1) && item.change.object.namespace === 'shop',
      ),
    ).toBe(true);
    const { id } = await changeAt(4, '09:30:02');
    expect((await ask(api, `/v1/changes/${id}`, { token })).status).toBe(404);
    expect((await ask(api, '/v1/application-actions', { token })).json.items).toEqual([]);
    expect((await ask(api, '/v1/policy', { token })).status).toBe(403);
    const mine = await ask(api, `/v1/changes/${(await changeAt(1, '09:30:02')).id}`, { token });
    expect(mine.json.verdicts).toHaveLength(1);
  });
});

it('tells who rolled back, who triggered a sync, who set an override', async () => {
  const actions = await allItems(api, '/v1/application-actions', 1);
  expect(actions.map((item) => [item.cluster, item.action, item.initiator ?? item.actor])).toEqual([
    [cluster(38), 'rollback', 'carol'],
    [cluster(23), 'override_set', 'system:serviceaccount:argocd:argocd-image-updater'],
  ]);
  const { stdout } = await api.cli(['actions', '--action', 'rollback', '--utc']);
  expect(stdout).toMatch(/2026-03-02 10:30:00 .*argocd\/web +rollback +carol/);
});

describe('the policy', () => {
  it('is checked with every problem and its line', async () => {
    const good = await ask(api, '/v1/policy/check', {
      method: 'POST',
      body: { text: readShared('policy.yaml') },
    });
    expect(good.json).toMatchObject({
      name: 'golden-scenarios',
      environments: ['ticketed', 'owned', 'default'],
    });
    const example = readFileSync(join(import.meta.dirname, '../../deploy/policy.example.yaml'), 'utf8');
    const checked = await ask(api, '/v1/policy/check', { method: 'POST', body: { text: example } });
    expect(checked.json).toMatchObject({ name: 'acme-2026-03', environments: ['production', 'default'] });
    const bad = await ask(api, '/v1/policy/check', {
      method: 'POST',
      body: { text: 'name: x\nenvironmets: []\n' },
    });
    expect([bad.status, bad.json.detail]).toEqual([
      400,
      expect.stringMatching(/line 2: environmets is unknown here/),
    ]);
  });

  it('is dry-run over history, and writes nothing', async () => {
    const count = async () => (await api.pool.query('select count(*)::int as n from verdicts')).rows[0].n;
    const before = await count();
    const folder = mkdtempSync(join(tmpdir(), 'whochanged-policy-'));
    try {
      const strict = join(folder, 'strict.yaml');
      writeFileSync(strict, readShared('policy.yaml').replace('approvals: 1', 'approvals: 2'));
      const since = '2026-03-01T00:00:00Z';
      const result = await api.cli([
        'policy',
        'test',
        strict,
        '--since',
        since,
        '--cluster',
        cluster(1),
        '-o',
        'json',
      ]);
      expect(result.stderr).toBe('');
      const tested = JSON.parse(result.stdout);
      expect(tested.items).toMatchObject([
        { before: expect.any(String), after: expect.stringMatching(/unknown|unapproved/) },
      ]);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
    expect(await count()).toBe(before);
  });

  it('that holds is shown', async () => {
    const shown = await api.cli(['policy', 'show']);
    expect(shown.stderr).toMatch(/built in/);
    expect(shown.stdout).toMatch(/^name: /);
  });
});

it('is drawn for a terminal', async () => {
  const table = await api.cli([
    '--cluster',
    cluster(1),
    '--resource',
    'deploy',
    '--since',
    '2026-03-01T00:00:00Z',
    '--utc',
  ]);
  expect(table.stdout).toMatch(/COMMIT +APPROVED BY +VERDICT/);
  expect(table.stdout).toMatch(new RegExp(`${sha(1, 'm7').slice(0, 8)} +bob #7 +approved`));
  const { id } = await changeAt(4, '09:30:02');
  const shown = await api.cli(['show', id, '--utc']);
  expect(shown.stdout).toMatch(/Verdict: +unapproved\(stale\)/);
  expect(shown.stdout).toMatch(/Links:\n {2}\* argocd exact: /);
  const list = await api.cli(['verdicts', '--reason', 'stale', '--utc']);
  expect(list.stdout).toMatch(/unapproved\(stale\)/);
  expect((await api.cli(['verdicts', '--reason', 'bypass', '--exit-code'])).code).toBe(1);
});
