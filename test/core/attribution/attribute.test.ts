import { describe, expect, it } from 'vitest';
import { controller, type Step, tell } from './scenario.js';

const GC = controller('generic-garbage-collector');
const NAMESPACES = controller('namespace-controller');
const ROLLOUT = controller('deployment-controller');
const REPLICAS = controller('replicaset-controller');
const SLICES = controller('endpointslice-controller');

const DEPLOYED: Step[] = [
  { id: 'deploy', at: 0, by: 'alice', kind: 'create', of: 'deployments prod/web', uid: 'd' },
  { id: 'rs', at: 0.1, by: ROLLOUT, kind: 'create', of: 'replicasets prod/web-1', uid: 'rs', owner: 'd' },
  { id: 'pod', at: 0.2, by: REPLICAS, kind: 'create', of: 'pods prod/web-1-a', uid: 'p1', owner: 'rs' },
];

describe('deletions', () => {
  it("a finalizer's removal is the deletion that someone asked for (golden 36)", () => {
    const told = tell([
      { id: 'claim', at: 0, by: 'alice', kind: 'create', of: 'persistentvolumeclaims prod/data', uid: 'c' },
      {
        id: 'delete',
        at: 100,
        by: 'bob',
        kind: 'delete',
        of: 'persistentvolumeclaims prod/data',
        uid: 'c',
        flags: ['deletion_pending'],
      },
      {
        id: 'hurry',
        at: 200,
        by: 'carol',
        kind: 'delete',
        of: 'persistentvolumeclaims prod/data',
        uid: 'c',
        flags: ['deletion_pending'],
      },
      {
        id: 'free',
        at: 300,
        by: controller('pvc-protection-controller'),
        kind: 'finalizer_removal',
        of: 'persistentvolumeclaims prod/data',
        uid: 'c',
      },
    ]);
    expect(told.free).toMatchObject({
      state: 'resolved',
      rule: 'finalizer',
      trigger: 'delete',
      root: 'persistentvolumeclaims prod/data',
    });
    expect(told.delete).toBeUndefined();
  });

  it("a person who takes off the last finalizer didn't delete the object either", () => {
    const told = tell([
      {
        id: 'delete',
        at: 0,
        by: 'bob',
        kind: 'delete',
        of: 'configmaps prod/x',
        uid: 'c',
        flags: ['deletion_pending'],
      },
      { id: 'free', at: 9, by: 'dave', kind: 'finalizer_removal', of: 'configmaps prod/x', uid: 'c' },
      { id: 'orphan', at: 20, by: 'dave', kind: 'finalizer_removal', of: 'configmaps prod/y', uid: 'y' },
    ]);
    expect(told.free).toMatchObject({ state: 'resolved', trigger: 'delete' });
    expect(told.orphan).toMatchObject({
      state: 'unresolved',
      reason: 'the request that deleted configmaps prod/y is not recorded; only its end is',
    });
  });

  it("the deletion of an earlier object of that name is another one's", () => {
    const told = tell([
      { id: 'first', at: 0, by: 'bob', kind: 'delete', of: 'configmaps prod/x', uid: 'old' },
      { id: 'again', at: 5, by: 'alice', kind: 'create', of: 'configmaps prod/x', uid: 'new' },
      { id: 'free', at: 9, by: 'dave', kind: 'finalizer_removal', of: 'configmaps prod/x', uid: 'new' },
    ]);
    expect(told.free!.state).toBe('unresolved');
  });

  it("what the garbage collector removes goes back to the topmost owner's deletion", () => {
    const told = tell([
      ...DEPLOYED,
      { id: 'delete', at: 100, by: 'bob', kind: 'delete', of: 'deployments prod/web', uid: 'd' },
      { id: 'rsGone', at: 100.2, by: GC, kind: 'delete', of: 'replicasets prod/web-1', uid: 'rs' },
      {
        id: 'podGone',
        at: 100.4,
        by: GC,
        kind: 'delete',
        of: 'pods prod/web-1-a',
        uid: 'p1',
        flags: ['deletion_pending'],
      },
      { id: 'podEnd', at: 130, by: 'system:node:n1', kind: 'delete', of: 'pods prod/web-1-a', uid: 'p1' },
    ]);
    expect(told.rsGone).toMatchObject({
      state: 'resolved',
      rule: 'garbage_collection',
      trigger: 'delete',
      root: 'deployments prod/web',
    });
    expect(told.podGone).toMatchObject({
      state: 'resolved',
      rule: 'garbage_collection',
      trigger: 'delete',
      root: 'deployments prod/web',
    });
    expect(told.podEnd).toMatchObject({ state: 'resolved', rule: 'termination', trigger: 'delete' });
  });

  it("a collected object whose owner's deletion wasn't recorded is unresolved", () => {
    const told = tell([
      ...DEPLOYED,
      { id: 'gone', at: 9, by: GC, kind: 'delete', of: 'pods prod/web-1-a', uid: 'p1' },
    ]);
    expect(told.gone).toMatchObject({
      state: 'unresolved',
      reason: 'the deletion of its owner replicasets prod/web-1 is not recorded',
    });
  });

  it('a namespace takes everything with it, by whoever deleted it', () => {
    const told = tell([
      ...DEPLOYED,
      {
        id: 'delete',
        at: 100,
        by: 'bob',
        kind: 'delete',
        of: 'namespaces prod',
        uid: 'n',
        flags: ['deletion_pending'],
      },
      { id: 'pods', at: 101, by: NAMESPACES, kind: 'delete_collection', of: 'pods prod/*' },
      {
        id: 'item',
        at: 101,
        by: NAMESPACES,
        kind: 'delete',
        of: 'pods prod/web-1-a',
        uid: 'p1',
        flags: ['item_of_collection'],
        collection: 'pods',
      },
      {
        id: 'end',
        at: 130,
        by: NAMESPACES,
        kind: 'finalizer_removal',
        of: 'namespaces prod',
        uid: 'n',
        subresource: 'finalize',
      },
    ]);
    expect(told.pods).toMatchObject({
      state: 'resolved',
      rule: 'namespace_deletion',
      trigger: 'delete',
      root: 'namespaces prod',
    });
    expect(told.item).toMatchObject({ state: 'resolved', rule: 'collection', trigger: 'delete' });
    expect(told.end).toMatchObject({ state: 'resolved', rule: 'finalizer', trigger: 'delete' });
  });

  it("the items of a person's deletecollection are that person's", () => {
    const told = tell([
      { id: 'all', at: 0, by: 'bob', kind: 'delete_collection', of: 'configmaps prod/*' },
      {
        id: 'one',
        at: 0,
        by: 'bob',
        kind: 'delete',
        of: 'configmaps prod/x',
        flags: ['item_of_collection'],
        collection: 'all',
      },
    ]);
    expect(told.one).toMatchObject({ state: 'resolved', rule: 'collection', trigger: 'all' });
    expect(told.all).toBeUndefined();
  });

  it("a pod evicted for a taint is the taint's author's, its replacement too", () => {
    const told = tell([
      ...DEPLOYED,
      {
        id: 'taint',
        at: 5000,
        by: 'carol',
        kind: 'update',
        of: 'nodes n1',
        uid: 'n1',
        fields: ['spec.taints'],
      },
      {
        id: 'out',
        at: 5001,
        by: controller('taint-eviction-controller'),
        kind: 'delete',
        of: 'pods prod/web-1-a',
        uid: 'p1',
        before: { spec: { nodeName: 'n1' } },
      },
      {
        id: 'pod2',
        at: 5001.1,
        by: REPLICAS,
        kind: 'create',
        of: 'pods prod/web-1-b',
        uid: 'p2',
        owner: 'rs',
      },
    ]);
    expect(told.out).toMatchObject({ state: 'resolved', rule: 'node', trigger: 'taint' });
    expect(told.pod2).toMatchObject({
      state: 'resolved',
      trigger: 'taint',
      content: 'deploy',
      root: 'deployments prod/web',
    });
  });

  it("a pod evicted from a lost node is nobody's doing that we know of, nor is its replacement", () => {
    const told = tell([
      ...DEPLOYED,
      {
        id: 'out',
        at: 5001,
        by: controller('node-controller'),
        kind: 'delete',
        of: 'pods prod/web-1-a',
        uid: 'p1',
        before: { spec: { nodeName: 'n1' } },
      },
      {
        id: 'pod2',
        at: 5001.1,
        by: REPLICAS,
        kind: 'create',
        of: 'pods prod/web-1-b',
        uid: 'p2',
        owner: 'rs',
      },
    ]);
    expect(told.out).toMatchObject({
      state: 'unresolved',
      reason: expect.stringContaining('because of its node'),
    });
    expect(told.pod2).toMatchObject({ state: 'unresolved', trigger: 'out', content: 'deploy' });
  });

  it('a mirror pod is unresolved: its manifest is on a disk', () => {
    const told = tell([
      {
        id: 'pod',
        at: 0,
        by: 'system:node:n1',
        kind: 'create',
        of: 'pods kube-system/etcd-n1',
        uid: 'm',
        owner: 'n1',
        ownerKind: 'Node',
        ownerName: 'n1',
      },
    ]);
    expect(told.pod).toMatchObject({
      state: 'unresolved',
      rule: 'static_pod',
      reason: expect.stringContaining('disk of node n1'),
    });
  });
});

describe('what comes with something else', () => {
  it('a namespace brings its ServiceAccount, its ConfigMap, and the token Secret', () => {
    const told = tell([
      { id: 'ns', at: 0, by: 'alice', kind: 'create', of: 'namespaces prod', uid: 'n' },
      {
        id: 'sa',
        at: 0.1,
        by: controller('service-account-controller'),
        kind: 'create',
        of: 'serviceaccounts prod/default',
        uid: 's',
      },
      {
        id: 'ca',
        at: 0.2,
        by: controller('root-ca-cert-publisher'),
        kind: 'create',
        of: 'configmaps prod/kube-root-ca.crt',
        uid: 'c',
      },
      {
        id: 'token',
        at: 0.3,
        by: 'system:kube-controller-manager',
        kind: 'create',
        of: 'secrets prod/default-token-x7x7x',
        uid: 't',
      },
      {
        id: 'ref',
        at: 0.4,
        by: 'system:kube-controller-manager',
        kind: 'update',
        of: 'serviceaccounts prod/default',
        uid: 's',
      },
    ]);
    for (const id of ['sa', 'ca'])
      expect(told[id]).toMatchObject({
        state: 'resolved',
        rule: 'namespace_creation',
        trigger: 'ns',
        root: 'namespaces prod',
      });
    expect(told.token).toMatchObject({
      state: 'resolved',
      rule: 'service_account_token',
      trigger: 'ns',
      root: 'serviceaccounts prod/default',
    });
    expect(told.ref).toMatchObject({ state: 'resolved', rule: 'own_object', trigger: 'ns' });
  });

  it('what a controller restores is set off by who broke it (self-heal)', () => {
    const told = tell([
      { id: 'ns', at: 0, by: 'alice', kind: 'create', of: 'namespaces prod', uid: 'n' },
      {
        id: 'ca',
        at: 1,
        by: controller('root-ca-cert-publisher'),
        kind: 'create',
        of: 'configmaps prod/kube-root-ca.crt',
        uid: 'c',
      },
      {
        id: 'edit',
        at: 5000,
        by: 'mallory',
        kind: 'update',
        of: 'configmaps prod/kube-root-ca.crt',
        uid: 'c',
        fields: ['data'],
      },
      {
        id: 'heal',
        at: 5000.1,
        by: controller('root-ca-cert-publisher'),
        kind: 'update',
        of: 'configmaps prod/kube-root-ca.crt',
        uid: 'c',
        fields: ['data'],
      },
    ]);
    expect(told.heal).toMatchObject({ state: 'resolved', rule: 'own_object', trigger: 'edit' });
  });

  it('a namespace made anew brings its ServiceAccount again, though the last one went a moment ago', () => {
    const told = tell([
      { id: 'ns', at: 0, by: 'alice', kind: 'create', of: 'namespaces prod', uid: 'n' },
      { id: 'bye', at: 100, by: 'bob', kind: 'delete', of: 'namespaces prod', uid: 'n' },
      { id: 'saGone', at: 101, by: NAMESPACES, kind: 'delete', of: 'serviceaccounts prod/default', uid: 's' },
      { id: 'ns2', at: 120, by: 'carol', kind: 'create', of: 'namespaces prod', uid: 'n2' },
      {
        id: 'sa',
        at: 120.1,
        by: controller('service-account-controller'),
        kind: 'create',
        of: 'serviceaccounts prod/default',
        uid: 's2',
      },
    ]);
    expect(told.saGone).toMatchObject({ trigger: 'bye' });
    expect(told.sa).toMatchObject({ state: 'resolved', trigger: 'ns2' });
  });

  it('endpoints follow their Service, or the pod that came or went', () => {
    const lists = (...pods: string[]) => ({
      endpoints: pods.map((name) => ({
        conditions: { ready: true },
        targetRef: { kind: 'Pod', name, uid: name },
      })),
    });
    const labels = ['kubernetes.io/service-name=web'];
    const slice = { of: 'endpointslices prod/web-x1', uid: 'es', owner: 'svc', labels };
    const told = tell([
      { id: 'svc', at: 0, by: 'alice', kind: 'create', of: 'services prod/web', uid: 'svc' },
      { id: 'made', at: 0.1, by: SLICES, kind: 'create', ...slice, after: lists() },
      ...DEPLOYED.map((step) => ({ ...step, at: step.at + 100, by: step.id === 'deploy' ? 'bob' : step.by })),
      {
        id: 'ready',
        at: 105,
        by: SLICES,
        kind: 'update',
        ...slice,
        before: lists(),
        after: lists('web-1-a'),
      },
      {
        id: 'evict',
        at: 5000,
        by: 'erin',
        kind: 'eviction',
        of: 'pods prod/web-1-a',
        subresource: 'eviction',
      },
      {
        id: 'drop',
        at: 5000.2,
        by: SLICES,
        kind: 'update',
        ...slice,
        before: lists('web-1-a'),
        after: lists(),
      },
      {
        id: 'flap',
        at: 9000,
        by: SLICES,
        kind: 'update',
        ...slice,
        before: lists(),
        after: lists('web-1-a'),
      },
    ]);
    expect(told.made).toMatchObject({
      state: 'resolved',
      rule: 'endpoints',
      trigger: 'svc',
      root: 'services prod/web',
    });
    expect(told.ready).toMatchObject({
      state: 'resolved',
      rule: 'endpoints',
      trigger: 'deploy',
      root: 'services prod/web',
    });
    expect(told.drop).toMatchObject({ state: 'resolved', trigger: 'evict' });
    expect(told.flap).toMatchObject({ state: 'resolved', trigger: undefined, content: 'svc' });
  });

  it("the scheduler's binding goes with the pod's creation", () => {
    const told = tell([
      ...DEPLOYED,
      {
        id: 'bind',
        at: 0.3,
        by: 'system:kube-scheduler',
        kind: 'binding',
        of: 'pods prod/web-1-a',
        uid: 'p1',
        subresource: 'binding',
      },
      { id: 'bare', at: 1, by: 'carol', kind: 'create', of: 'pods prod/tool', uid: 't' },
      {
        id: 'bind2',
        at: 1.1,
        by: 'system:kube-scheduler',
        kind: 'binding',
        of: 'pods prod/tool',
        uid: 't',
        subresource: 'binding',
      },
      { id: 'preempt', at: 9, by: 'system:kube-scheduler', kind: 'delete', of: 'pods prod/tool', uid: 't' },
    ]);
    expect(told.bind).toMatchObject({
      state: 'resolved',
      rule: 'binding',
      trigger: 'deploy',
      root: 'deployments prod/web',
    });
    expect(told.bind2).toMatchObject({
      state: 'resolved',
      rule: 'binding',
      trigger: 'bare',
      root: 'pods prod/tool',
    });
    expect(told.preempt).toMatchObject({ state: 'unresolved', rule: 'preemption' });
  });

  it('an aggregated ClusterRole changes because of one that it gathers', () => {
    const told = tell([
      {
        id: 'grant',
        at: 0,
        by: 'mallory',
        kind: 'rbac_grant',
        of: 'clusterroles sneaky',
        uid: 'r',
        labels: ['rbac.authorization.k8s.io/aggregate-to-view=true'],
      },
      {
        id: 'view',
        at: 0.2,
        by: controller('clusterrole-aggregation-controller'),
        kind: 'rbac_grant',
        of: 'clusterroles view',
        uid: 'v',
      },
    ]);
    expect(told.view).toMatchObject({
      state: 'resolved',
      rule: 'role_aggregation',
      trigger: 'grant',
      root: 'clusterroles view',
    });
  });

  it("a volume is its claim's", () => {
    const told = tell([
      { id: 'claim', at: 0, by: 'alice', kind: 'create', of: 'persistentvolumeclaims prod/data', uid: 'c' },
      {
        id: 'bind',
        at: 2,
        by: controller('persistent-volume-binder'),
        kind: 'update',
        of: 'persistentvolumes pv-1',
        uid: 'v',
        after: { spec: { claimRef: { namespace: 'prod', name: 'data' } } },
      },
    ]);
    expect(told.bind).toMatchObject({
      state: 'resolved',
      rule: 'volume',
      trigger: 'claim',
      root: 'persistentvolumeclaims prod/data',
    });
  });

  it("a certificate request's handling goes with the request", () => {
    const told = tell([
      { id: 'csr', at: 0, by: 'alice', kind: 'create', of: 'certificatesigningrequests alice', uid: 'c' },
      {
        id: 'approve',
        at: 0.4,
        by: controller('certificate-controller'),
        kind: 'csr_approval',
        of: 'certificatesigningrequests alice',
        uid: 'c',
        subresource: 'approval',
      },
    ]);
    expect(told.approve).toMatchObject({ state: 'resolved', rule: 'own_object', trigger: 'csr' });
  });
});

describe('what nobody set off', () => {
  it("a quota's bookkeeping is its own", () => {
    const told = tell([
      { id: 'quota', at: 0, by: 'alice', kind: 'create', of: 'resourcequotas prod/q', uid: 'q' },
      {
        id: 'count',
        at: 5000,
        by: controller('resourcequota-controller'),
        kind: 'update',
        of: 'resourcequotas prod/q',
        uid: 'q',
      },
    ]);
    expect(told.count).toMatchObject({
      state: 'resolved',
      rule: 'upkeep',
      trigger: undefined,
      root: 'resourcequotas prod/q',
    });
  });

  it("a finished Job's expiry has its creation as content", () => {
    const told = tell([
      { id: 'job', at: 0, by: 'alice', kind: 'create', of: 'jobs prod/once', uid: 'j' },
      {
        id: 'ttl',
        at: 5000,
        by: controller('ttl-after-finished-controller'),
        kind: 'delete',
        of: 'jobs prod/once',
        uid: 'j',
      },
    ]);
    expect(told.ttl).toMatchObject({ state: 'resolved', rule: 'expiry', trigger: undefined, content: 'job' });
  });

  it('an unseen autoscaler, or two that fit, leave a scale unresolved', () => {
    const hpa = (name: string): Step => ({
      id: name,
      at: 0,
      by: 'alice',
      kind: 'create',
      of: `horizontalpodautoscalers prod/${name}`,
      uid: name,
      after: { spec: { scaleTargetRef: { kind: 'Deployment', name: 'web' } } },
    });
    const scale: Step = {
      id: 'scale',
      at: 9,
      by: controller('horizontal-pod-autoscaler'),
      kind: 'scale',
      of: 'deployments prod/web',
      uid: 'd',
    };
    expect(tell([scale]).scale).toMatchObject({
      state: 'unresolved',
      reason: 'no HorizontalPodAutoscaler that scales deployments prod/web is recorded',
    });
    expect(tell([hpa('a'), hpa('b'), scale]).scale).toMatchObject({
      state: 'unresolved',
      reason: expect.stringContaining('a, b'),
    });
  });

  it("a controller's write that nothing explains is unresolved, not the last editor's", () => {
    const told = tell([
      {
        id: 'edit',
        at: 0,
        by: 'alice',
        kind: 'update',
        of: 'services prod/web',
        uid: 's',
        fields: ['metadata.labels'],
      },
      {
        id: 'odd',
        at: 5000,
        by: controller('service-controller'),
        kind: 'update',
        of: 'services prod/web',
        uid: 's',
      },
    ]);
    expect(told.odd).toMatchObject({
      state: 'unresolved',
      trigger: undefined,
      reason: expect.stringContaining("alice's update"),
    });
  });

  it("a change whose event names no user is unresolved; a person's needs no attribution", () => {
    const told = tell([
      { id: 'ghost', at: 0, by: '', kind: 'update', of: 'configmaps prod/x' },
      { id: 'alice', at: 1, by: 'alice', kind: 'update', of: 'configmaps prod/x' },
      {
        id: 'argo',
        at: 2,
        by: 'system:serviceaccount:argocd:argocd-application-controller',
        kind: 'update',
        of: 'configmaps prod/x',
      },
    ]);
    expect(told.ghost).toMatchObject({
      state: 'unresolved',
      rule: 'author',
      reason: 'its audit event names no user',
    });
    expect(Object.keys(told)).toEqual(['ghost']);
  });

  it('a cause of unknown outcome is named with that doubt', () => {
    const told = tell([
      ...DEPLOYED,
      { id: 'maybe', at: 5000, by: 'bob', kind: 'delete', of: 'pods prod/web-1-a', outcome: 'unknown' },
      {
        id: 'pod2',
        at: 5000.1,
        by: REPLICAS,
        kind: 'create',
        of: 'pods prod/web-1-b',
        uid: 'p2',
        owner: 'rs',
      },
    ]);
    expect(told.pod2).toMatchObject({ state: 'resolved', trigger: 'maybe' });
    expect(told.pod2!.evidence.notes!.join()).toContain(
      "outcome of bob's delete of pods prod/web-1-a is unknown",
    );
  });
});
