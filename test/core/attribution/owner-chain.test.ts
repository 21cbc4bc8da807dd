import { describe, expect, it } from 'vitest';
import { controller, type Step, tell } from './scenario.js';

const ROLLOUT = controller('deployment-controller');
const REPLICAS = controller('replicaset-controller');
const SETS = controller('statefulset-controller');
const DAEMONS = controller('daemon-set-controller');
const JOBS = controller('job-controller');

/** Alice deploys web; its controllers make a ReplicaSet and a pod. */
const DEPLOYED: Step[] = [
  { id: 'deploy', at: 0, by: 'alice', kind: 'create', of: 'deployments prod/web', uid: 'd', rv: 10 },
  {
    id: 'rs',
    at: 0.1,
    by: ROLLOUT,
    kind: 'create',
    of: 'replicasets prod/web-1',
    uid: 'rs',
    owner: 'd',
    rv: 11,
  },
  {
    id: 'pod',
    at: 0.2,
    by: REPLICAS,
    kind: 'create',
    of: 'pods prod/web-1-a',
    uid: 'p1',
    owner: 'rs',
    rv: 12,
  },
];

const DAY = 86_400;

describe('a pod of a Deployment', () => {
  it('is attributed to the Deployment and to who created it', () => {
    const told = tell(DEPLOYED);
    expect(told.rs).toMatchObject({
      state: 'resolved',
      rule: 'owner_chain',
      root: 'deployments prod/web',
      trigger: 'deploy',
      content: 'deploy',
    });
    expect(told.pod).toMatchObject({
      state: 'resolved',
      rule: 'owner_chain',
      root: 'deployments prod/web',
      trigger: 'deploy',
      content: 'deploy',
    });
    expect(told.pod!.evidence).toMatchObject({
      path: ['pods prod/web-1-a', 'replicasets prod/web-1', 'deployments prod/web'],
      order: 'resource_version',
      through: ['rs'],
    });
  });

  it('after a template change by Bob, is his (golden 26)', () => {
    const told = tell([
      ...DEPLOYED,
      {
        id: 'edit',
        at: DAY,
        by: 'bob',
        kind: 'update',
        of: 'deployments prod/web',
        uid: 'd',
        fields: ['spec.template.spec'],
        rv: 50,
      },
      {
        id: 'rs2',
        at: DAY + 0.1,
        by: ROLLOUT,
        kind: 'create',
        of: 'replicasets prod/web-2',
        uid: 'rs2',
        owner: 'd',
        rv: 51,
      },
      {
        id: 'pod2',
        at: DAY + 0.2,
        by: REPLICAS,
        kind: 'create',
        of: 'pods prod/web-2-a',
        uid: 'p2',
        owner: 'rs2',
        rv: 52,
      },
      {
        id: 'down',
        at: DAY + 5,
        by: ROLLOUT,
        kind: 'update',
        of: 'replicasets prod/web-1',
        uid: 'rs',
        owner: 'd',
        fields: ['spec.replicas'],
        rv: 60,
      },
      { id: 'gone', at: DAY + 5.1, by: REPLICAS, kind: 'delete', of: 'pods prod/web-1-a', uid: 'p1', rv: 61 },
    ]);
    expect(told.pod2).toMatchObject({
      state: 'resolved',
      root: 'deployments prod/web',
      trigger: 'edit',
      content: 'edit',
    });
    expect(told.down).toMatchObject({ state: 'resolved', trigger: 'edit' });
    // What goes was made from Alice's template; that it goes is Bob's doing.
    expect(told.gone).toMatchObject({ state: 'resolved', trigger: 'edit', content: 'deploy' });
  });

  it("after a scale by Carol, has Alice's content and Carol's trigger", () => {
    const told = tell([
      ...DEPLOYED,
      {
        id: 'scale',
        at: DAY,
        by: 'carol',
        kind: 'scale',
        of: 'deployments prod/web',
        uid: 'd',
        subresource: 'scale',
        rv: 50,
      },
      {
        id: 'rsUp',
        at: DAY + 0.1,
        by: ROLLOUT,
        kind: 'update',
        of: 'replicasets prod/web-1',
        uid: 'rs',
        owner: 'd',
        fields: ['spec.replicas', 'metadata.annotations'],
        rv: 51,
      },
      {
        id: 'pod2',
        at: DAY + 0.2,
        by: REPLICAS,
        kind: 'create',
        of: 'pods prod/web-1-b',
        uid: 'p2',
        owner: 'rs',
        rv: 52,
      },
    ]);
    expect(told.pod2).toMatchObject({
      state: 'resolved',
      trigger: 'scale',
      content: 'deploy',
      root: 'deployments prod/web',
    });
  });

  it('replacing an evicted one, is set off by the evictor, content unchanged (golden 27)', () => {
    const told = tell([
      ...DEPLOYED,
      {
        id: 'label',
        at: DAY - 1,
        by: 'dave',
        kind: 'update',
        of: 'deployments prod/web',
        uid: 'd',
        fields: ['metadata.labels'],
        rv: 49,
      },
      {
        id: 'evict',
        at: DAY,
        by: 'erin',
        kind: 'eviction',
        of: 'pods prod/web-1-a',
        subresource: 'eviction',
      },
      {
        id: 'pod2',
        at: DAY + 0.2,
        by: REPLICAS,
        kind: 'create',
        of: 'pods prod/web-1-b',
        uid: 'p2',
        owner: 'rs',
        rv: 52,
      },
      {
        id: 'last',
        at: DAY + 30,
        by: 'system:node:n1',
        kind: 'delete',
        of: 'pods prod/web-1-a',
        uid: 'p1',
        rv: 60,
      },
    ]);
    expect(told.pod2).toMatchObject({
      state: 'resolved',
      trigger: 'evict',
      content: 'deploy',
      root: 'deployments prod/web',
    });
    expect(told.pod2!.evidence.order).toBe('time');
    expect(told.last).toMatchObject({ state: 'resolved', rule: 'termination', trigger: 'evict' });
  });

  it('made during a rollout is not blamed on an eviction that is made good already', () => {
    const told = tell([
      ...DEPLOYED,
      { id: 'evict', at: DAY, by: 'erin', kind: 'eviction', of: 'pods prod/web-1-a' },
      {
        id: 'pod2',
        at: DAY + 0.1,
        by: REPLICAS,
        kind: 'create',
        of: 'pods prod/web-1-b',
        uid: 'p2',
        owner: 'rs',
        rv: 52,
      },
      { id: 'scale', at: DAY + 60, by: 'carol', kind: 'scale', of: 'deployments prod/web', uid: 'd', rv: 53 },
      {
        id: 'rsUp',
        at: DAY + 60.1,
        by: ROLLOUT,
        kind: 'scale',
        of: 'replicasets prod/web-1',
        uid: 'rs',
        owner: 'd',
        rv: 54,
      },
      {
        id: 'pod3',
        at: DAY + 60.2,
        by: REPLICAS,
        kind: 'create',
        of: 'pods prod/web-1-c',
        uid: 'p3',
        owner: 'rs',
        rv: 55,
      },
    ]);
    expect(told.pod2!.trigger).toBe('evict');
    expect(told.pod3!.trigger).toBe('scale');
  });

  it("set off by an autoscaler has the autoscaler's scale as trigger (golden 25)", () => {
    const told = tell([
      ...DEPLOYED,
      {
        id: 'hpa',
        at: 10,
        by: 'alice',
        kind: 'create',
        of: 'horizontalpodautoscalers prod/web',
        uid: 'h',
        rv: 20,
        after: { spec: { scaleTargetRef: { kind: 'Deployment', name: 'web' } } },
      },
      {
        id: 'auto',
        at: DAY,
        by: controller('horizontal-pod-autoscaler'),
        kind: 'scale',
        of: 'deployments prod/web',
        uid: 'd',
        subresource: 'scale',
        rv: 50,
      },
      {
        id: 'rsUp',
        at: DAY + 0.1,
        by: ROLLOUT,
        kind: 'scale',
        of: 'replicasets prod/web-1',
        uid: 'rs',
        owner: 'd',
        rv: 51,
      },
      {
        id: 'pod2',
        at: DAY + 0.2,
        by: REPLICAS,
        kind: 'create',
        of: 'pods prod/web-1-b',
        uid: 'p2',
        owner: 'rs',
        rv: 52,
      },
    ]);
    expect(told.auto).toMatchObject({
      state: 'resolved',
      rule: 'autoscaler',
      root: 'horizontalpodautoscalers prod/web',
      trigger: undefined,
      content: 'hpa',
    });
    expect(told.pod2).toMatchObject({
      state: 'resolved',
      root: 'deployments prod/web',
      trigger: 'auto',
      content: 'deploy',
    });
  });

  it('after a rollback carries the old content, set off by who rolled back', () => {
    const told = tell([
      ...DEPLOYED,
      {
        id: 'edit',
        at: 1000,
        by: 'bob',
        kind: 'update',
        of: 'deployments prod/web',
        uid: 'd',
        fields: ['spec.template.spec'],
        rv: 50,
      },
      {
        id: 'rs2',
        at: 1000.1,
        by: ROLLOUT,
        kind: 'create',
        of: 'replicasets prod/web-2',
        uid: 'rs2',
        owner: 'd',
        rv: 51,
      },
      {
        id: 'undo',
        at: 2000,
        by: 'carol',
        kind: 'update',
        of: 'deployments prod/web',
        uid: 'd',
        fields: ['spec.template.spec'],
        rv: 70,
      },
      {
        id: 'rsUp',
        at: 2000.1,
        by: ROLLOUT,
        kind: 'update',
        of: 'replicasets prod/web-1',
        uid: 'rs',
        owner: 'd',
        fields: ['spec.replicas'],
        rv: 71,
      },
      {
        id: 'pod2',
        at: 2000.2,
        by: REPLICAS,
        kind: 'create',
        of: 'pods prod/web-1-b',
        uid: 'p2',
        owner: 'rs',
        rv: 72,
      },
    ]);
    expect(told.pod2).toMatchObject({ state: 'resolved', trigger: 'undo', content: 'deploy' });
  });

  it('after someone scaled the ReplicaSet itself is theirs, and so is the scaling back', () => {
    const told = tell([
      ...DEPLOYED,
      {
        id: 'direct',
        at: DAY,
        by: 'mallory',
        kind: 'scale',
        of: 'replicasets prod/web-1',
        uid: 'rs',
        owner: 'd',
        rv: 50,
      },
      {
        id: 'pod2',
        at: DAY + 0.1,
        by: REPLICAS,
        kind: 'create',
        of: 'pods prod/web-1-b',
        uid: 'p2',
        owner: 'rs',
        rv: 51,
      },
      {
        id: 'back',
        at: DAY + 0.2,
        by: ROLLOUT,
        kind: 'scale',
        of: 'replicasets prod/web-1',
        uid: 'rs',
        owner: 'd',
        rv: 52,
      },
      { id: 'gone', at: DAY + 0.3, by: REPLICAS, kind: 'delete', of: 'pods prod/web-1-b', uid: 'p2', rv: 53 },
    ]);
    expect(told.pod2).toMatchObject({ trigger: 'direct', root: 'deployments prod/web' });
    expect(told.back).toMatchObject({ trigger: 'direct' });
    expect(told.gone).toMatchObject({ trigger: 'direct' });
  });

  it('made long after everything is unresolved rather than blamed on the last deployer', () => {
    const told = tell([
      ...DEPLOYED,
      {
        id: 'pod2',
        at: 3 * DAY,
        by: REPLICAS,
        kind: 'create',
        of: 'pods prod/web-1-b',
        uid: 'p2',
        owner: 'rs',
        rv: 52,
      },
    ]);
    expect(told.pod2).toMatchObject({
      state: 'unresolved',
      root: 'deployments prod/web',
      trigger: undefined,
      content: 'deploy',
    });
    expect(told.pod2!.reason).toMatch(
      /^nothing recorded shortly before explains it; .*4320 minutes earlier$/,
    );
  });

  it('whose ReplicaSet was never seen is unresolved and says which', () => {
    const told = tell([
      {
        id: 'pod',
        at: 0,
        by: REPLICAS,
        kind: 'create',
        of: 'pods prod/web-1-a',
        uid: 'p1',
        owner: 'rs',
        ownerKind: 'ReplicaSet',
        ownerName: 'web-1',
      },
    ]);
    expect(told.pod).toMatchObject({
      state: 'unresolved',
      root: undefined,
      reason: 'owner ReplicaSet web-1 (uid rs) has no recorded history',
    });
  });

  it("whose Deployment was recreated under its name is not the former one's", () => {
    const told = tell([
      { id: 'old', at: 0, by: 'alice', kind: 'create', of: 'deployments prod/web', uid: 'old' },
      { id: 'drop', at: 10, by: 'alice', kind: 'delete', of: 'deployments prod/web', uid: 'old' },
      { id: 'new', at: 20, by: 'bob', kind: 'create', of: 'deployments prod/web', uid: 'new' },
      {
        id: 'rs',
        at: 20.1,
        by: ROLLOUT,
        kind: 'create',
        of: 'replicasets prod/web-1',
        uid: 'rs',
        owner: 'new',
      },
    ]);
    expect(told.rs).toMatchObject({ trigger: 'new', content: 'new' });
  });

  it('set off by someone who did not log in is unresolved', () => {
    const told = tell(
      DEPLOYED.map((step) => (step.id === 'deploy' ? { ...step, by: 'system:anonymous' } : step)),
    );
    expect(told.deploy).toMatchObject({
      state: 'unresolved',
      rule: 'author',
      reason: 'it was made without authentication (system:anonymous)',
    });
    expect(told.pod).toMatchObject({ state: 'unresolved', trigger: 'deploy' });
  });

  it("says when the content may be another's, whose change was recorded without its bodies", () => {
    const told = tell([
      DEPLOYED[0]!,
      { id: 'blind', at: 5, by: 'bob', kind: 'update', of: 'deployments prod/web', uid: 'd', rv: 20 },
      {
        id: 'rs',
        at: 5.1,
        by: ROLLOUT,
        kind: 'create',
        of: 'replicasets prod/web-1',
        uid: 'rs',
        owner: 'd',
        rv: 21,
      },
    ]);
    expect(told.rs).toMatchObject({ state: 'resolved', trigger: 'blind', content: 'deploy' });
    expect(told.rs!.evidence.notes!.join()).toContain(
      "bob's update of deployments prod/web may have changed the content",
    );
  });
});

describe('the order of cause and effect', () => {
  const scale = (at: number, rv?: number): Step => ({
    id: 'scale',
    at,
    by: 'carol',
    kind: 'scale',
    of: 'deployments prod/web',
    uid: 'd',
    ...(rv !== undefined && { rv }),
  });
  const rsUp = (at: number, rv?: number): Step => ({
    id: 'rsUp',
    at,
    by: ROLLOUT,
    kind: 'scale',
    of: 'replicasets prod/web-1',
    uid: 'rs',
    owner: 'd',
    ...(rv !== undefined && { rv }),
  });
  const base = DEPLOYED.slice(0, 2);

  it('goes by revision where both are known, and tells of clocks that contradict', () => {
    const told = tell([...base, scale(107, 50), rsUp(100, 51)]);
    expect(told.rsUp).toMatchObject({ state: 'resolved', trigger: 'scale' });
    expect(told.rsUp!.evidence).toMatchObject({ order: 'resource_version', clockSkewSeconds: 7 });
  });

  it('never takes a later revision for a cause, whatever the clocks say', () => {
    const told = tell([...base, rsUp(100, 51), scale(99, 52)]);
    expect(told.rsUp!.trigger).not.toBe('scale');
  });

  it('tolerates two seconds where only times are known, and says so', () => {
    expect(tell([...base, scale(101.5), rsUp(100)]).rsUp).toMatchObject({
      trigger: 'scale',
      evidence: { order: 'time_within_tolerance' },
    });
    expect(tell([...base, scale(102.5), rsUp(100)]).rsUp!.trigger).not.toBe('scale');
  });

  it('is unresolved where all that could explain it came after', () => {
    const told = tell([
      { ...DEPLOYED[0]!, at: 50, rv: 90 },
      { ...DEPLOYED[1]!, at: 10, rv: 11 },
    ]);
    expect(told.rs).toMatchObject({
      state: 'unresolved',
      reason: expect.stringContaining('all come after it'),
    });
  });
});

describe('other owners', () => {
  it('a StatefulSet replaces the pod of the same name: whoever removed it', () => {
    const told = tell([
      { id: 'db', at: 0, by: 'alice', kind: 'create', of: 'statefulsets prod/db', uid: 's' },
      {
        id: 'rev',
        at: 0.1,
        by: SETS,
        kind: 'create',
        of: 'controllerrevisions prod/db-abc',
        uid: 'cr',
        owner: 's',
      },
      {
        id: 'pod',
        at: 0.2,
        by: SETS,
        kind: 'create',
        of: 'pods prod/db-0',
        uid: 'p0',
        owner: 's',
        labels: ['controller-revision-hash=db-abc'],
      },
      {
        id: 'kill',
        at: DAY,
        by: 'bob',
        kind: 'delete',
        of: 'pods prod/db-0',
        uid: 'p0',
        flags: ['deletion_pending'],
      },
      { id: 'scale', at: DAY + 1, by: 'carol', kind: 'scale', of: 'statefulsets prod/db', uid: 's' },
      { id: 'end', at: DAY + 30, by: 'system:node:n1', kind: 'delete', of: 'pods prod/db-0', uid: 'p0' },
      {
        id: 'again',
        at: DAY + 30.1,
        by: SETS,
        kind: 'create',
        of: 'pods prod/db-0',
        uid: 'p0b',
        owner: 's',
        labels: ['controller-revision-hash=db-abc'],
      },
      {
        id: 'more',
        at: DAY + 31,
        by: SETS,
        kind: 'create',
        of: 'pods prod/db-1',
        uid: 'p1',
        owner: 's',
        labels: ['controller-revision-hash=db-abc'],
      },
    ]);
    expect(told.pod).toMatchObject({ trigger: 'db', content: 'db' });
    expect(told.end).toMatchObject({ rule: 'termination', trigger: 'kill' });
    expect(told.again).toMatchObject({
      state: 'resolved',
      trigger: 'kill',
      content: 'db',
      root: 'statefulsets prod/db',
    });
    expect(told.more).toMatchObject({ trigger: 'scale' });
  });

  it("a StatefulSet's rolling update is the updater's to its last pod", () => {
    const steps: Step[] = [
      { id: 'db', at: 0, by: 'alice', kind: 'create', of: 'statefulsets prod/db', uid: 's' },
      {
        id: 'edit',
        at: DAY,
        by: 'bob',
        kind: 'update',
        of: 'statefulsets prod/db',
        uid: 's',
        fields: ['spec.template'],
      },
      {
        id: 'rev',
        at: DAY + 0.1,
        by: SETS,
        kind: 'create',
        of: 'controllerrevisions prod/db-2',
        uid: 'cr2',
        owner: 's',
      },
    ];
    for (const [i, ordinal] of [3, 2, 1, 0].entries()) {
      const at = DAY + 1 + i * 400;
      steps.push(
        {
          id: `out${ordinal}`,
          at,
          by: SETS,
          kind: 'delete',
          of: `pods prod/db-${ordinal}`,
          uid: `old${ordinal}`,
          owner: 's',
        },
        {
          id: `in${ordinal}`,
          at: at + 1,
          by: SETS,
          kind: 'create',
          of: `pods prod/db-${ordinal}`,
          uid: `new${ordinal}`,
          owner: 's',
          labels: ['controller-revision-hash=db-2'],
        },
      );
    }
    const told = tell(steps);
    for (const ordinal of [3, 2, 1, 0]) {
      expect(told[`out${ordinal}`], `out${ordinal}`).toMatchObject({ state: 'resolved', trigger: 'edit' });
      expect(told[`in${ordinal}`], `in${ordinal}`).toMatchObject({
        state: 'resolved',
        trigger: 'edit',
        content: 'edit',
      });
    }
  });

  it("a StatefulSet's claims are traced by their name, unless two sets fit", () => {
    const set = (name: string, uid: string): Step => ({
      id: name,
      at: 0,
      by: 'alice',
      kind: 'create',
      of: `statefulsets prod/${name}`,
      uid,
    });
    const claim: Step = {
      id: 'claim',
      at: 0.3,
      by: SETS,
      kind: 'create',
      of: 'persistentvolumeclaims prod/data-a-db-0',
      uid: 'c',
    };
    expect(tell([set('a-db', 's'), claim]).claim).toMatchObject({
      state: 'resolved',
      trigger: 'a-db',
      root: 'statefulsets prod/a-db',
    });
    expect(tell([set('a-db', 's'), set('db', 't'), claim]).claim).toMatchObject({
      state: 'unresolved',
      reason: expect.stringContaining('any of'),
    });
  });

  it("a DaemonSet's pod on a new node is set off by the node's coming", () => {
    const affinity = {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [{ matchFields: [{ key: 'metadata.name', operator: 'In', values: ['n2'] }] }],
        },
      },
    };
    const told = tell([
      { id: 'ds', at: 0, by: 'alice', kind: 'create', of: 'daemonsets prod/agent', uid: 'ds' },
      { id: 'node', at: DAY, by: 'system:node:n2', kind: 'create', of: 'nodes n2', uid: 'n2' },
      {
        id: 'pod',
        at: DAY + 1,
        by: DAEMONS,
        kind: 'create',
        of: 'pods prod/agent-x1x1x',
        uid: 'p',
        owner: 'ds',
        after: { spec: { affinity } },
      },
    ]);
    expect(told.node).toMatchObject({ rule: 'upkeep', trigger: undefined });
    expect(told.pod).toMatchObject({
      state: 'resolved',
      trigger: 'node',
      content: 'ds',
      root: 'daemonsets prod/agent',
    });
  });

  it("a CronJob's runs are nobody's doing but carry the CronJob's content; a manual run is its author's", () => {
    const told = tell([
      { id: 'cron', at: 0, by: 'alice', kind: 'create', of: 'cronjobs prod/report', uid: 'c' },
      {
        id: 'edit',
        at: 500,
        by: 'bob',
        kind: 'update',
        of: 'cronjobs prod/report',
        uid: 'c',
        fields: ['spec.jobTemplate.spec'],
      },
      {
        id: 'job',
        at: DAY,
        by: controller('cronjob-controller'),
        kind: 'create',
        of: 'jobs prod/report-1',
        uid: 'j1',
        owner: 'c',
      },
      {
        id: 'pod',
        at: DAY + 0.1,
        by: JOBS,
        kind: 'create',
        of: 'pods prod/report-1-a',
        uid: 'p1',
        owner: 'j1',
      },
      {
        id: 'manual',
        at: DAY + 60,
        by: 'carol',
        kind: 'create',
        of: 'jobs prod/manual',
        uid: 'j2',
        owner: 'c',
      },
      {
        id: 'pod2',
        at: DAY + 60.1,
        by: JOBS,
        kind: 'create',
        of: 'pods prod/manual-a',
        uid: 'p2',
        owner: 'j2',
      },
      {
        id: 'tidy',
        at: DAY + 90,
        by: controller('cronjob-controller'),
        kind: 'delete',
        of: 'jobs prod/report-1',
        uid: 'j1',
      },
    ]);
    expect(told.job).toMatchObject({
      state: 'resolved',
      rule: 'schedule',
      root: 'cronjobs prod/report',
      trigger: undefined,
      content: 'edit',
    });
    expect(told.pod).toMatchObject({
      state: 'resolved',
      root: 'cronjobs prod/report',
      trigger: 'job',
      content: 'edit',
    });
    expect(told.pod2).toMatchObject({ state: 'resolved', trigger: 'manual', root: 'cronjobs prod/report' });
    expect(told.tidy).toMatchObject({ state: 'resolved', rule: 'schedule', trigger: undefined });
  });

  it('works where all controllers share one user and differ only in their user agents', () => {
    const told = tell(
      DEPLOYED.map((step) =>
        step.by === 'alice'
          ? step
          : {
              ...step,
              by: 'system:kube-controller-manager',
              userAgent: `kube-controller-manager/v1.20.0 (linux/amd64) kubernetes/abc/${step.by === ROLLOUT ? 'deployment-controller' : 'replicaset-controller'}`,
            },
      ),
    );
    expect(told.pod).toMatchObject({ state: 'resolved', trigger: 'deploy', root: 'deployments prod/web' });
  });
});
