import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { AuditEvent, JsonObject } from '../../../core/audit-event.js';
import { readMutations } from '../../../core/manifest/admission.js';
import { compareManifest } from '../../../core/manifest/compare.js';
import { manifestDigest } from '../../../core/manifest/manifest.js';
import { quantityOf } from '../../../core/manifest/quantity.js';
import { createKeyedDigest } from '../../../core/redact/keyed-digest.js';
import { redactEvent } from '../../../core/redact/redact-event.js';
import { redactManifest } from '../../../core/redact/redact-manifest.js';
import { compileRedactionRules, DEFAULT_REDACTION_RULES } from '../../../core/redact/rules.js';

const APPROVED = parse(`
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  annotations: {}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      hostNetwork: false
      containers:
        - name: web
          image: registry.example.com/shop/web:1.2.0
          ports: [{containerPort: 8080}]
          env: [{name: LOG, value: debug}]
          resources: {limits: {cpu: 1000m, memory: 1Gi}}
          readinessProbe: {httpGet: {path: /, port: 8080}}
`) as JsonObject;

/** The same as a kube-apiserver answers it. */
function live(): JsonObject {
  return parse(`
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
  uid: 0b5e
  resourceVersion: "1234"
  generation: 3
  creationTimestamp: "2026-03-02T09:00:00Z"
  managedFields: [{manager: argocd-controller}]
  annotations:
    deployment.kubernetes.io/revision: "3"
    argocd.argoproj.io/tracking-id: shop:apps/Deployment:shop/web
spec:
  replicas: 1
  progressDeadlineSeconds: 600
  revisionHistoryLimit: 10
  selector: {matchLabels: {app: web}}
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 25%, maxUnavailable: 25%}}
  template:
    metadata: {creationTimestamp: null, labels: {app: web}}
    spec:
      dnsPolicy: ClusterFirst
      restartPolicy: Always
      schedulerName: default-scheduler
      securityContext: {}
      terminationGracePeriodSeconds: 30
      containers:
        - name: web
          image: registry.example.com/shop/web:1.2.0
          imagePullPolicy: IfNotPresent
          ports: [{containerPort: 8080, protocol: TCP}]
          env: [{name: LOG, value: debug}]
          resources: {limits: {cpu: "1", memory: 1Gi}, requests: {cpu: "1", memory: 1Gi}}
          readinessProbe: {failureThreshold: 3, periodSeconds: 10, successThreshold: 1, timeoutSeconds: 1, httpGet: {path: /, port: 8080, scheme: HTTP}}
          terminationMessagePath: /dev/termination-log
          terminationMessagePolicy: File
status: {observedGeneration: 3}
`) as JsonObject;
}

// biome-ignore lint/suspicious/noExplicitAny: tests reach into objects of every shape
const containersOf = (object: JsonObject) => (object as any).spec.template.spec.containers;

describe('compareManifest', () => {
  it('explains every default and what the server and Argo CD put there', () => {
    const { equal, differences, extras } = compareManifest(APPROVED, live());
    expect(differences).toEqual([]);
    expect(equal).toBe(true);
    const label = Object.fromEntries(extras.map((extra) => [extra.path, extra.label]));
    expect(label).toMatchObject({
      'metadata.uid': 'server',
      'metadata.namespace': 'server',
      status: 'server',
      'metadata.annotations["argocd.argoproj.io/tracking-id"]': 'tool',
      'spec.strategy.rollingUpdate.maxSurge': 'default',
      'spec.template.spec.containers[web].imagePullPolicy': 'default',
      'spec.template.spec.containers[web].resources.requests': 'default',
      'spec.template.spec.containers[web].readinessProbe.httpGet.scheme': 'default',
    });
  });

  it('names what is missing, different and unexplained', () => {
    const written = live();
    const [web] = containersOf(written);
    web.image = 'registry.example.com/shop/web:evil';
    web.env = [];
    web.imagePullPolicy = 'Always';
    web.securityContext = { privileged: true };
    containersOf(written).push({ name: 'miner', image: 'miner:1' });
    const { equal, differences, extras } = compareManifest(APPROVED, written);
    expect(equal).toBe(false);
    expect(differences).toEqual([
      {
        path: 'spec.template.spec.containers[web].image',
        kind: 'different',
        approved: 'registry.example.com/shop/web:1.2.0',
        written: 'registry.example.com/shop/web:evil',
      },
      {
        path: 'spec.template.spec.containers[web].env[LOG]',
        kind: 'missing',
        approved: { name: 'LOG', value: 'debug' },
      },
    ]);
    expect(extras.filter((extra) => extra.label === 'unexplained').map((extra) => extra.path)).toEqual([
      'spec.template.spec.containers[web].imagePullPolicy',
      'spec.template.spec.containers[web].securityContext.privileged',
      'spec.template.spec.containers[miner].name',
      'spec.template.spec.containers[miner].image',
    ]);
  });

  it('does not take a switch that was approved off, and is gone, for nothing', () => {
    const approved = structuredClone(APPROVED);
    // biome-ignore lint/suspicious/noExplicitAny: as above
    (approved as any).spec.template.spec.automountServiceAccountToken = false;
    expect(compareManifest(approved, live()).differences).toEqual([
      { path: 'spec.template.spec.automountServiceAccountToken', kind: 'missing', approved: false },
    ]);
  });

  it('names the webhook that wrote a field, and only it', () => {
    const written = live();
    const [web] = containersOf(written);
    web.env.push({ name: 'TRACE', value: '1' });
    web.image = 'mirror.example.com/shop/web:1.2.0';
    web.workingDir = '/elsewhere';
    const place = 'webhook.admission.k8s.io/round_0_index_1';
    const said = { configuration: 'tracer', webhook: 'trace.example.com' };
    const patch = [
      { op: 'add', path: '/spec/template/spec/containers/0/env/-', value: 1 },
      { op: 'replace', path: '/spec/template/spec/containers/0/image', value: 1 },
    ];
    const annotations = {
      [`mutation.${place}`]: JSON.stringify({ ...said, mutated: true }),
      [`patch.${place}`]: JSON.stringify({ ...said, patch, patchType: 'JSONPatch' }),
      'mutation.webhook.admission.k8s.io/round_0_index_0': JSON.stringify({ ...said, mutated: false }),
    };
    const { differences, extras } = compareManifest(APPROVED, written, readMutations(annotations));
    expect(differences).toMatchObject([{ kind: 'different', by: ['trace.example.com'] }]);
    expect(extras.filter((extra) => ['admission', 'unexplained'].includes(extra.label))).toEqual([
      {
        path: 'spec.template.spec.containers[web].env[TRACE]',
        label: 'admission',
        value: { name: 'TRACE', value: '1' },
        by: ['trace.example.com'],
      },
      { path: 'spec.template.spec.containers[web].workingDir', label: 'unexplained', value: '/elsewhere' },
    ]);
    // At level Metadata the patch is not recorded: it may have been the webhook.
    delete (annotations as Record<string, string>)[`patch.${place}`];
    expect(compareManifest(APPROVED, written, readMutations(annotations)).extras).toContainEqual({
      path: 'spec.template.spec.containers[web].workingDir',
      label: 'unexplained',
      value: '/elsewhere',
      by: ['trace.example.com'],
    });
  });

  it('compares Secrets by digests, wherever their values stand', () => {
    const rules = compileRedactionRules(DEFAULT_REDACTION_RULES);
    const digest = createKeyedDigest(Buffer.alloc(32, 7));
    const manifest = (password: string): JsonObject => ({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'db', namespace: 'shop' },
      stringData: { password },
    });
    const stored = {
      apiVersion: 'v1',
      kind: 'Secret',
      type: 'Opaque',
      metadata: { name: 'db', namespace: 'shop', uid: 'x' },
      data: { password: Buffer.from('hunter2!').toString('base64') },
    };
    const event = {
      objectRef: { resource: 'secrets', apiVersion: 'v1' },
      responseObject: stored,
    } as unknown as AuditEvent;
    const written = redactEvent(event, rules, digest).responseObject as JsonObject;
    const approved = redactManifest(manifest('hunter2!'), rules, digest);
    expect(compareManifest(approved, written)).toMatchObject({ equal: true, differences: [] });
    const other = compareManifest(redactManifest(manifest('hunter3!'), rules, digest), written);
    expect(other.differences).toMatchObject([{ path: 'data.password', kind: 'different' }]);
    expect(JSON.stringify([approved, written, other])).not.toMatch(/hunter|aHVudGVy/);
  });
});

describe('manifestDigest', () => {
  it('is of the content, not of the marks of tools', () => {
    expect(manifestDigest(live())).not.toEqual(manifestDigest(APPROVED));
    const marked = structuredClone(APPROVED);
    marked.metadata = {
      name: 'web',
      labels: { 'kustomize.toolkit.fluxcd.io/name': 'shop' },
      annotations: { 'argocd.argoproj.io/tracking-id': 'x' },
      uid: 'y',
    };
    const plain = structuredClone(APPROVED);
    plain.metadata = { name: 'web' };
    expect(manifestDigest(marked)).toEqual(manifestDigest(plain));
  });
});

describe('quantityOf', () => {
  it.each([
    ['1000m', '1'],
    ['0.5', '500m'],
    ['1Gi', '1024Mi'],
    ['1e3', '1k'],
    [2, '2'],
  ])('%s is %s', (a, b) => {
    expect(quantityOf(a)).toBe(quantityOf(b));
  });

  it.each(['', 'm', '1GiB', 'abc', '1 Gi', null])('%s is none', (text) => {
    expect(quantityOf(text)).toBeUndefined();
  });
});
