import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Identities } from '../../../core/identity-map/identities.js';
import { pruneAlertsJob } from '../../../jobs/alerts/prune-alerts.js';
import { attributeJob } from '../../../jobs/attribute.js';
import { linksJob } from '../../../jobs/links.js';
import { verdictsJob } from '../../../jobs/verdicts.js';
import { readPolicyText } from '../../../store/policy-text.js';
import { peopleOf } from '../../../store/verdicts/people.js';
import { createTestDatabase, type TestDatabase } from '../../harness/database.js';
import { RecordedCluster, type Request } from '../recorded-cluster.js';
import { Alerting, SOON } from './alerting.js';

let database: TestDatabase;
let cluster: RecordedCluster;

beforeEach(async () => {
  database = await createTestDatabase();
  database.pool.on('error', () => undefined);
  cluster = await RecordedCluster.create(database);
});
afterEach(() => database.drop());

const exec = (at: number, by = 'alice@example.com'): Request => ({
  at,
  by,
  verb: 'create',
  resource: 'pods',
  namespace: 'shop',
  name: 'web-1',
  subresource: 'exec',
  query: 'command=sh',
  code: 101,
  response: undefined,
});
const readSecret = (at: number, by: string, namespace = 'shop'): Request => ({
  at,
  by,
  verb: 'get',
  resource: 'secrets',
  namespace,
  name: 'db',
  body: { data: { password: 'aHVudGVyMg==' } },
});
const deployment = (at: number, rv: number, image: string, replicas = 1): Request => ({
  at,
  by: 'bob@example.com',
  verb: rv === 1 ? 'create' : 'update',
  resource: 'apps/deployments',
  namespace: 'shop',
  name: 'web',
  uid: 'u-web',
  rv,
  body: { spec: { replicas, template: { spec: { containers: [{ name: 'web', image }] } } } },
});

const alertsOf = (alerting: Alerting) =>
  alerting.rows<Record<string, unknown>>(
    'select rule, subject, severity, username, namespace, object, matches, message, change_id from alerts order by id',
  );

describe('alerts', () => {
  it('begin when they are switched on: history raises none', async () => {
    const alerting = new Alerting(
      database.pool,
      'rules: [{name: exec, match: {change.kind: exec}}, {name: read, match: {class: secret_read}}]',
    );
    await cluster.record(exec(1));
    await cluster.record(readSecret(1, 'alice@example.com'));
    expect(await alerting.raise()).toBe(0);
    await cluster.record(exec(2));
    expect(await alerting.raise()).toBe(1);
    expect(await alerting.raise()).toBe(0);
    const [alert, ...more] = await alertsOf(alerting);
    expect(more).toEqual([]);
    expect(alert).toMatchObject({
      rule: 'exec',
      subject: 'change',
      username: 'alice@example.com',
      namespace: 'shop',
    });
    expect(alert!.message).toContain('alice@example.com');
    expect(alert!.change_id).toMatch(/^[0-9a-f-]{36}$/);
  });

  it('look through a cluster that comes later from its first event', async () => {
    const alerting = new Alerting(database.pool, 'rules: [{name: exec, match: {change.kind: exec}}]');
    await alerting.raise();
    const later = await RecordedCluster.create(database, 'later');
    await later.record(exec(3), exec(4));
    expect(await alerting.raise()).toBe(1);
    expect(await alertsOf(alerting)).toMatchObject([{ matches: 2 }]);
  });

  it('match on what a field was and became, and on nothing that only looks like it', async () => {
    const alerting = new Alerting(
      database.pool,
      `rules:
  - name: foreign-image
    severity: high
    match: { diff.after.spec.template.spec.containers.image|startswith: evil.example.com/ }
  - name: scaled-down
    match: { diff.path: spec.replicas, diff.after.spec.replicas|lt: 2 }
`,
    );
    await alerting.raise();
    await cluster.record(deployment(1, 1, 'good.example.com/web:1', 3));
    await cluster.record(deployment(2, 2, 'good.example.com/web:2', 3));
    expect(await alerting.raise()).toBe(0);
    await cluster.record(deployment(3, 3, 'evil.example.com/web:2', 3));
    await cluster.record(deployment(4, 4, 'evil.example.com/web:2', 1));
    expect(await alerting.raise()).toBe(2);
    expect((await alertsOf(alerting)).map(({ rule, severity }) => `${rule} ${severity}`).sort()).toEqual([
      'foreign-image high',
      'scaled-down medium',
    ]);
  });

  it('gather equal matches within the window, and begin another behind it', async () => {
    const alerting = new Alerting(
      database.pool,
      'rules: [{name: exec, match: {change.kind: exec}, window: 10m, key: [cluster, username]}]',
    );
    await alerting.raise();
    await cluster.record(exec(1), exec(60), exec(599));
    await alerting.raise();
    await cluster.record(exec(300), exec(700), exec(701, 'carol@example.com'));
    await alerting.raise();
    const alerts = await alertsOf(alerting);
    expect(alerts.map(({ username, matches }) => [username, matches]).sort()).toEqual([
      ['alice@example.com', 1],
      ['alice@example.com', 4],
      ['carol@example.com', 1],
    ]);
  });

  it('tell who had not read Secrets there before, without a value of one', async () => {
    const alerting = new Alerting(database.pool, 'builtIn: [secret-read-by-new-actor]');
    await cluster.record(readSecret(1, 'bob@example.com'));
    await alerting.raise();
    await cluster.record(
      readSecret(10, 'bob@example.com'),
      readSecret(11, 'mallory@example.com'),
      readSecret(12, 'mallory@example.com'),
      readSecret(13, 'bob@example.com', 'billing'),
      readSecret(14, 'system:kube-controller-manager'),
    );
    await alerting.raise();
    const alerts = await alertsOf(alerting);
    expect(alerts.map(({ username, namespace }) => [username, namespace])).toEqual([
      ['mallory@example.com', 'shop'],
      ['bob@example.com', 'billing'],
    ]);
    expect(JSON.stringify(alerts)).not.toContain('aHVudGVyMg');
  });

  it('tell of rights over the whole cluster, by binding and by role', async () => {
    const alerting = new Alerting(database.pool, 'builtIn: [cluster-admin-granted]');
    await alerting.raise();
    const rbac = (at: number, resource: string, name: string, body: Record<string, unknown>): Request => ({
      at,
      by: 'alice@example.com',
      verb: 'create',
      resource: `rbac.authorization.k8s.io/${resource}`,
      name,
      uid: name,
      rv: at,
      body,
      request: body,
    });
    const ref = (name: string) => ({
      roleRef: { kind: 'ClusterRole', name },
      subjects: [{ kind: 'User', name: 'eve' }],
    });
    await cluster.record(
      rbac(1, 'clusterrolebindings', 'harmless', ref('view')),
      rbac(2, 'clusterrolebindings', 'harmful', ref('cluster-admin')),
      rbac(3, 'clusterroles', 'reader', { rules: [{ verbs: ['get'], resources: ['*'], apiGroups: ['*'] }] }),
      rbac(4, 'clusterroles', 'all', { rules: [{ verbs: ['*'], resources: ['*'], apiGroups: ['*'] }] }),
    );
    await alerting.raise();
    expect((await alertsOf(alerting)).map(({ object, severity }) => [object, severity])).toEqual([
      ['rbac.authorization.k8s.io/clusterrolebindings harmful', 'critical'],
      ['rbac.authorization.k8s.io/clusterroles all', 'critical'],
    ]);
  });

  it('tell of verdicts as they are given, by environment', async () => {
    const alerting = new Alerting(database.pool, 'builtIn: [unapproved-in-production, exec-in-production]');
    await alerting.raise();
    await cluster.record(deployment(1, 1, 'web:1'), deployment(2, 2, 'web:2'), exec(3), {
      ...exec(4, 'eve@example.com'),
      namespace: 'playground',
    });
    expect(await alerting.raise()).toBe(0);
    const policy = readPolicyText(
      `name: test
environments: [{ name: production, namespaces: [shop] }]`,
      'the policy',
    );
    await alerting.run(attributeJob());
    await alerting.run(linksJob(() => Promise.resolve(policy)));
    await alerting.run(
      verdictsJob({
        policy: () => Promise.resolve(policy),
        git: undefined,
        people: peopleOf(new Identities([])),
      }),
    );
    await alerting.raise();
    const alerts = await alertsOf(alerting);
    expect(alerts.map(({ rule, username, matches }) => [rule, username, matches]).sort()).toEqual([
      ['exec-in-production', 'alice@example.com', 1],
      ['unapproved-in-production', 'bob@example.com', 2],
    ]);
    expect(alerts.find(({ rule }) => rule === 'unapproved-in-production')!.message).toMatch(
      /; out-of-band in production$/,
    );
    expect(await alerting.raise()).toBe(0);
  });

  it('are not raised by what is old when it comes', async () => {
    const alerting = new Alerting(
      database.pool,
      'maxAge: 1h\nrules: [{name: exec, match: {change.kind: exec}}]',
    );
    await alerting.raise();
    await cluster.record(exec(-7200), exec(5));
    await alerting.raise();
    expect(await alertsOf(alerting)).toMatchObject([{ matches: 1 }]);
  });

  it('tell once of a silent source and of a gap, and when it is over', async () => {
    const alerting = new Alerting(database.pool, 'builtIn: [source-silent, gap-found]');
    await cluster.record(exec(1));
    await database.pool.query(`update source_health set last_received_at = $1`, [
      new Date(SOON.getTime() - 900_000),
    ]);
    await database.pool.query(
      `insert into gaps (cluster_id, source_id, cause, subject, since, until, missing, evidence, opened_at)
       values ($1, $2, 'receiver_down', 'x', $3, $4, 7, '{}', $3)`,
      [
        cluster.clusterID,
        cluster.sourceID,
        new Date(SOON.getTime() - 900_000),
        new Date(SOON.getTime() - 600_000),
      ],
    );
    expect(await alerting.raise()).toBe(2);
    expect(await alerting.raise()).toBe(0);
    const messages = (await alertsOf(alerting)).map(({ message }) => message);
    expect(messages[0]).toContain('receiver down');
    expect(messages[0]).toContain('at least 7');
    expect(messages[1]).toMatch(/told nothing for 900 s/);
    const ended = () =>
      alerting.rows<{ subject: string }>('select subject from alerts where ended_at is not null');
    expect(await ended()).toEqual([]);
    await database.pool.query('update source_health set last_received_at = $1', [SOON]);
    await database.pool.query(`update gaps set state = 'closed', closed_at = now(), closed_reason = 'found'`);
    await alerting.raise();
    expect((await ended()).length).toBe(2);
  });

  it('are over where a silent source is disabled, and say so', async () => {
    const alerting = new Alerting(database.pool, 'builtIn: [source-silent]');
    await cluster.record(exec(1));
    await database.pool.query('update source_health set last_received_at = $1', [
      new Date(SOON.getTime() - 900_000),
    ]);
    expect(await alerting.raise()).toBe(1);
    await database.pool.query('update sources set disabled_at = now()');
    await alerting.raise();
    expect(await alerting.rows('select end_reason from alerts where ended_at is not null')).toEqual([
      { end_reason: 'disabled' },
    ]);
    expect(await alerting.raise()).toBe(0);
  });

  it('go when they are kept no longer, but for what goes on, is to be told or is held', async () => {
    const alerting = new Alerting(
      database.pool,
      `receivers: [{ name: chat, kind: slack, url: "http://127.0.0.1:1/hook" }]
builtIn: [source-silent]
to: []
rules:
  - { name: exec, match: { change.kind: exec } }
  - { name: long, match: { class: secret_read }, window: 30d }
  - { name: told, match: { change.kind: delete }, to: [chat] }`,
    );
    await alerting.raise();
    const deletion: Request = {
      at: 4,
      by: 'bob@example.com',
      verb: 'delete',
      resource: 'configmaps',
      namespace: 'shop',
      name: 'web',
    };
    await cluster.record(
      exec(1),
      exec(2, 'carol@example.com'),
      { ...exec(3, 'dave@example.com'), namespace: 'billing' },
      readSecret(3, 'alice@example.com'),
      deletion,
    );
    await database.pool.query('update source_health set last_received_at = $1', [
      new Date(SOON.getTime() - 900_000),
    ]);
    await alerting.raise();
    await database.pool.query(
      `insert into legal_holds (cluster_id, namespace, username, reason, created_by)
       values ($1, 'shop', 'carol@example.com', 'a case', 'admin')`,
      [cluster.clusterID],
    );
    const left = async (days: number) => {
      await alerting.run(pruneAlertsJob(10), new Date(SOON.getTime() + days * 86_400_000));
      return (await alertsOf(alerting)).map(({ rule, username }) => `${rule} ${username}`).sort();
    };
    await database.pool.query('update alerts set raised_at = $1', [SOON]);
    expect(await left(9)).toHaveLength(6);
    expect(await left(11)).toEqual([
      'exec carol@example.com',
      'long alice@example.com',
      'source-silent null',
      'told bob@example.com',
    ]);
    await database.pool.query(
      `update legal_holds set released_at = now(), released_by = 'admin', release_reason = 'over'`,
    );
    await database.pool.query(`update alert_deliveries set state = 'given_up', settled_at = now()`);
    await database.pool.query(`update source_health set last_received_at = $1`, [SOON]);
    await alerting.raise();
    expect(await left(50)).toEqual([]);
    expect(await alerting.rows('select from alert_deliveries')).toEqual([]);
  });

  it('count nothing twice and leave nothing out where a run breaks off', async () => {
    const alerting = new Alerting(database.pool, 'rules: [{name: exec, match: {change.kind: exec}}]');
    await alerting.raise();
    await cluster.record(exec(1), exec(2));
    // The last statement of the run's transaction fails, as where the connection breaks.
    await database.pool.query(
      `create function broken() returns trigger language plpgsql as $$ begin raise exception 'broken off'; end $$;
       create trigger broken before insert or update on job_cursors for each row when (new.job = 'alerts-changes') execute function broken()`,
    );
    await expect(alerting.raise()).rejects.toThrow('broken off');
    expect(await alertsOf(alerting)).toEqual([]);
    await database.pool.query('drop trigger broken on job_cursors');
    await alerting.raise();
    expect(await alertsOf(alerting)).toMatchObject([{ matches: 2 }]);
  });
});
