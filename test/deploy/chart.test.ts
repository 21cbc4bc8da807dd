import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { parse } from 'yaml';
import { createAuthority, issueCertificate } from '../../main/certificates.js';
import { readConfig } from '../../main/config.js';
import { createApiToken } from '../../store/api-tokens.js';
import { createTestDatabase, type TestDatabase } from '../harness/database.js';
import {
  HELM,
  type Labels,
  layOutPod,
  type Manifest,
  type PodTemplate,
  RELEASE,
  renderChart,
} from '../harness/helm-chart.js';
import { startSystem } from '../harness/system.js';

const DEPLOY = join(import.meta.dirname, '../../deploy');
const ROLES = ['ingest', 'api', 'jobs'] as const;
const EVERYTHING = {
  secrets: { database: 'db', keys: 'keys', tls: 'tls', credentials: 'credentials' },
  publicURL: 'https://audit.example.com:8443',
  logOrigin: 'audit.example.com/whochanged',
  policy: readFileSync(join(DEPLOY, 'policy.example.yaml'), 'utf8'),
  alerts: readFileSync(join(DEPLOY, 'alerts.example.yaml'), 'utf8'),
  identities: 'people:\n  alice: {emails: [alice@example.com]}\n',
  access: 'grants:\n  - {to: {certificates: [grafana]}, role: reader}\n',
  reports: 'deliveries: []\n',
  redactionRules: "safeNames: ['^public_token$']\n",
  files: { 'signers.txt': 'alice@example.com ssh-ed25519 AAAA\n' },
  config: {
    WHOCHANGED_S3_CONCURRENCY: '3',
    WHOCHANGED_GIT_ALLOWED_SIGNERS_FILE: '/etc/whochanged/signers.txt',
  },
  networkPolicy: { from: [{ ipBlock: { cidr: '10.0.0.0/16' } }] },
  monitoring: {
    serviceMonitor: { enabled: true, labels: { release: 'prometheus' } },
    prometheusRule: { enabled: true },
    dashboard: { enabled: true },
  },
};

/** The Helm chart, rendered by the real helm: `WHOCHANGED_HELM_BIN=/path/to/helm npx vitest run test/deploy`. */
describe.skipIf(!HELM)('the chart', () => {
  let plain: Manifest[];
  let full: Manifest[];
  beforeAll(() => {
    plain = renderChart();
    full = renderChart(EVERYTHING);
  });

  const named = (manifests: Manifest[], kind: string, role?: string): Manifest => {
    const name = role === undefined ? RELEASE : `${RELEASE}-${role}`;
    const hit = manifests.find(({ kind: other, metadata }) => other === kind && metadata.name === name);
    if (!hit) throw new Error(`no ${kind} ${name}`);
    return hit;
  };
  const workload = (manifests: Manifest[], role: string) =>
    named(manifests, role === 'ingest' ? 'StatefulSet' : 'Deployment', role);
  const pod = (manifests: Manifest[], role: string): PodTemplate => workload(manifests, role).spec!.template!;

  it('makes a workload, a budget and a service of each role, and no Secret', () => {
    const kinds = (manifests: Manifest[]) =>
      manifests.map(({ kind, metadata }) => `${kind} ${metadata.name}`).sort();
    const always = [
      'ConfigMap wc-files',
      'Deployment wc-api',
      'Deployment wc-jobs',
      'NetworkPolicy wc',
      'PodDisruptionBudget wc-api',
      'PodDisruptionBudget wc-ingest',
      'PodDisruptionBudget wc-jobs',
      'Service wc-api',
      'Service wc-ingest',
      'Service wc-jobs',
      'ServiceAccount wc',
      'StatefulSet wc-ingest',
    ];
    expect(kinds(plain)).toEqual(always);
    expect(kinds(full)).toEqual(
      [...always, 'ConfigMap wc-dashboard', 'PrometheusRule wc', 'ServiceMonitor wc'].sort(),
    );
  });

  it.each(ROLES)('runs %s alone, unprivileged and with nothing but its volumes to write to', (role) => {
    const { spec } = pod(plain, role);
    const [container] = spec.containers;
    expect(container.args).toEqual(['--roles', role]);
    expect(spec.securityContext).toMatchObject({ runAsNonRoot: true, runAsUser: 1000, fsGroup: 1000 });
    expect(container.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
    expect(container.resources.limits).toEqual({ memory: expect.any(String) });
    const writable = container.volumeMounts.filter(({ readOnly }) => !readOnly).map((mount) => mount.name);
    expect(writable.sort()).toEqual(['data', 'tmp']);
    const claims = (workload(plain, role).spec!.volumeClaimTemplates ?? []).map(
      ({ metadata }) => metadata.name,
    );
    expect(claims).toEqual(role === 'ingest' ? ['data'] : []);
    const volumes = [...spec.volumes.map(({ name }) => name), ...claims];
    expect(container.volumeMounts.filter(({ name }) => !volumes.includes(name))).toEqual([]);
  });

  it.each(ROLES)("lets one of the pods of %s be away at a time, and reaches no other role's", (role) => {
    const others = ROLES.filter((other) => other !== role);
    expect(workload(plain, role).spec!.replicas).toBeGreaterThan(1);
    const budget = named(plain, 'PodDisruptionBudget', role).spec!;
    expect(budget.maxUnavailable).toBe(1);
    const service = named(plain, 'Service', role).spec!;
    for (const selector of [
      workload(plain, role).spec!.selector!.matchLabels!,
      budget.selector!.matchLabels!,
      service.selector as Labels,
    ]) {
      expect(selects(selector, pod(plain, role).metadata.labels)).toBe(true);
      for (const other of others) expect(selects(selector, pod(plain, other).metadata.labels)).toBe(false);
    }
    const { ports } = pod(plain, role).spec.containers[0];
    expect(service.ports).toEqual([{ name: 'https', port: 8443, targetPort: ports[0]!.name }]);
  });

  it('lets in its namespace and who is named, and is scraped as it is served', () => {
    const policy = named(full, 'NetworkPolicy').spec!;
    expect(policy).toMatchObject({
      policyTypes: ['Ingress'],
      ingress: [
        {
          ports: [{ port: 'https' }],
          from: [{ podSelector: {} }, { ipBlock: { cidr: '10.0.0.0/16' } }],
        },
      ],
    });
    expect(named(plain, 'NetworkPolicy').spec).toMatchObject({ ingress: [{ from: [{ podSelector: {} }] }] });
    expect(named(full, 'ServiceMonitor').metadata.labels).toEqual({ release: 'prometheus' });
    for (const role of ROLES) {
      expect(selects(policy.podSelector!.matchLabels, pod(full, role).metadata.labels)).toBe(true);
      expect(
        selects(
          named(full, 'ServiceMonitor').spec!.selector!.matchLabels!,
          named(full, 'Service', role).metadata.labels!,
        ),
      ).toBe(true);
    }
    expect(renderChart({ networkPolicy: { enabled: false } }).map(({ kind }) => kind)).not.toContain(
      'NetworkPolicy',
    );
  });

  it('ships the rules and the dashboard as they stand in its files', () => {
    const file = (name: string) => readFileSync(join(DEPLOY, 'helm/whochanged/files', name), 'utf8');
    expect(named(full, 'PrometheusRule').spec).toEqual(parse(file('alerts.yaml')));
    const dashboard = full.find(({ metadata }) => metadata.name === `${RELEASE}-dashboard`)!;
    expect(JSON.parse(dashboard.data!['whochanged.json']!)).toEqual(JSON.parse(file('dashboard.json')));
  });

  it('starts other pods when a file of theirs changes', () => {
    const checksum = (manifests: Manifest[]) => pod(manifests, 'api').metadata.annotations['checksum/files'];
    expect(checksum(renderChart({ policy: 'name: other' }))).not.toBe(checksum(plain));
  });

  it.each([
    ['a receiver without TLS', { publicURL: 'http://audit.example.com' }, 'publicURL'],
    ['no replica', { ingest: { replicas: 0 } }, 'replicas'],
    ['no Secret of keys', { secrets: { keys: '' } }, 'keys'],
    ['a variable of nobody', { config: { LD_PRELOAD: '/x' } }, 'LD_PRELOAD'],
  ])('refuses %s', (_, values, named) => {
    expect(() => renderChart(values)).toThrow(named);
  });

  describe('its pods', () => {
    let database: TestDatabase;
    let secrets: Record<string, Labels>;
    let ca: string;
    beforeAll(async () => {
      database = await createTestDatabase();
      const client = await database.pool.connect();
      const token = await createApiToken(client, { name: 'prometheus', role: 'reader' });
      client.release();
      const authority = await createAuthority(new Date());
      const names = ['audit.example.com', 'wc-ingest.audit.svc'];
      const subject = { commonName: names[0]!, names, usage: 'server' as const, days: 1 };
      const server = await issueCertificate(authority, subject, new Date());
      ca = authority.certificatePem;
      const log = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' });
      secrets = {
        db: { url: database.url },
        keys: { 'redaction.key': randomBytes(32).toString('hex'), 'log.key': String(log) },
        tls: { 'tls.crt': [server.certificatePem, ca].join('\n'), 'tls.key': server.keyPem },
        credentials: { 'host-token': 'a-token' },
        'whochanged-metrics-token': { token },
      };
    });
    afterAll(() => database.drop());

    it.each(ROLES)(
      'start %s by its environment and files, and answer the probes and Prometheus',
      async (role) => {
        const root = await mkdtemp(join(tmpdir(), `whochanged-pod-`));
        onTestFinished(() => rm(root, { recursive: true, force: true }));
        const template = pod(full, role);
        const [container] = template.spec.containers;
        const { environment, at } = layOutPod(template, { root, secrets, manifests: full });
        // As the image has it.
        environment.WHOCHANGED_DATA_DIR = at('/data');

        const config = readConfig({ ...environment, WHOCHANGED_ROLES: container.args[1] });
        expect(config).toMatchObject({
          dataDir: at('/data'),
          roles: [role],
          publicURL: EVERYTHING.publicURL,
          database: { url: database.url },
          https: {
            port: container.ports[0]!.containerPort,
            certFile: at('/tls/tls.crt'),
            keyFile: at('/tls/tls.key'),
          },
          redaction: {
            keyFile: at('/keys/redaction.key'),
            rulesFile: at('/etc/whochanged/redaction-rules.yaml'),
          },
          log: { origin: EVERYTHING.logOrigin, keyFile: at('/keys/log.key') },
          credentialsDir: at('/credentials'),
          policyFile: at('/etc/whochanged/policy.yaml'),
          identitiesFile: at('/etc/whochanged/identities.yaml'),
          reportsFile: at('/etc/whochanged/reports.yaml'),
          alertsFile: at('/etc/whochanged/alerts.yaml'),
          identity: { accessFile: at('/etc/whochanged/access.yaml') },
          git: { allowedSignersFile: at('/etc/whochanged/signers.txt') },
          s3: { concurrency: 3 },
        });
        if (role === 'ingest')
          expect(config.spool).toEqual({ dir: at('/data/spool'), maxBytes: 6 * 1024 ** 3 });

        const system = await startSystem(at('/data'), environment, undefined, container.args);
        onTestFinished(() => system.stop());
        const { endpoints } = named(full, 'ServiceMonitor').spec as {
          endpoints: [{ path: string; tlsConfig: { serverName: string } }];
        };
        const servername = endpoints[0].tlsConfig.serverName;
        const ask = (path: string, headers: Labels = {}) =>
          statusOf(`${system.https}${path}`, { ca, servername, headers });
        for (const { httpGet } of [
          container.startupProbe,
          container.livenessProbe,
          container.readinessProbe,
        ]) {
          expect(httpGet).toMatchObject({ port: 'https', scheme: 'HTTPS' });
          expect(await ask(httpGet.path)).toBe(200);
        }
        expect(container.readinessProbe.httpGet.path).toBe(role === 'api' ? '/readyz' : '/healthz');
        expect(await ask(endpoints[0].path)).toBe(401);
        const authorization = `Bearer ${secrets['whochanged-metrics-token']!.token}`;
        expect(await ask(endpoints[0].path, { authorization })).toBe(200);
      },
    );
  });
});

function selects(selector: Labels, labels: Labels): boolean {
  const entries = Object.entries(selector);
  return entries.length > 0 && entries.every(([name, value]) => labels[name] === value);
}

function statusOf(
  url: string,
  options: { ca: string; servername: string; headers: Labels },
): Promise<number | undefined> {
  return new Promise((done, fail) => {
    request(url, options, (answer) => {
      answer.resume();
      done(answer.statusCode);
    })
      .once('error', fail)
      .end();
  });
}
