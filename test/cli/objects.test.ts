import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { Cluster, eventList } from '../harness/events.js';
import { type RunningApi, startApiWithSession } from '../harness/running-api.js';

/** Times of the recorded session: deploy/web was created at :56, scaled at :57, and got a new image at :59. */
const SCALED = '2026-11-24T13:37:58Z';
const NEW_IMAGE = '2026-11-24T13:37:59.9Z';
const DELETED = '2026-11-24T13:41:00Z';
const BEFORE_ALL = '2026-11-23T00:00:00Z';
const WEB = ['deploy/web', '-n', 'shop'];
const IMAGE = 'spec.template.spec.containers[web].image';

let api: RunningApi;
let imageChange: string;
beforeAll(async () => {
  api = await startApiWithSession();
  const { stdout } = await api.cli([
    ...WEB,
    '--field',
    IMAGE,
    '--since',
    SCALED,
    '--until',
    NEW_IMAGE,
    '-o',
    'name',
  ]);
  imageChange = stdout.trim();
});
afterAll(() => api.stop());

interface Manifest {
  kind: string;
  metadata: Record<string, unknown>;
  spec: {
    replicas: number;
    template: {
      spec: { containers: Array<{ image: string; env?: Array<{ name: string; value?: string }> }> };
    };
  };
  status?: unknown;
}

describe('diff', () => {
  it('of a change shows its fields', async () => {
    expect(await api.cli(['diff', imageChange])).toEqual({
      code: 0,
      stdout: `${IMAGE}\n- registry.example.com/shop/web:1.0.0\n+ registry.example.com/shop/web:1.1.0\n`,
      stderr: '',
    });
  });

  it('of two times shows what differs between them, and exits with 1 where that is asked for', async () => {
    const { code, stdout } = await api.cli([
      'diff',
      ...WEB,
      '--from',
      SCALED,
      '--to',
      NEW_IMAGE,
      '--exit-code',
    ]);
    expect(code).toBe(1);
    expect(stdout).toBe(
      `spec.replicas\n- 3\n+ 2\n${IMAGE}\n- registry.example.com/shop/web:1.0.0\n+ registry.example.com/shop/web:1.1.0\n`,
    );
    const none = await api.cli(['diff', ...WEB, '--from', SCALED, '--to', SCALED, '--exit-code']);
    const version = '2026-11-24 13:37:57 (exact)';
    expect(none).toEqual({
      code: 0,
      stdout: '',
      stderr: `# from the version of ${version} to that of ${version}\nno differences\n`,
    });
  });

  it('says that it can’t compare with a time of which nothing is known', async () => {
    const { code, stdout, stderr } = await api.cli(['diff', ...WEB, '--from', BEFORE_ALL, '--to', SCALED]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(
      /^# from: nothing is recorded.*\nwhochanged: no fields can be compared: one of the two states is not known\n.*history/,
    );
  });

  it('says of what was made or deleted that there was nothing to compare it with', async () => {
    const gone = await api.cli(['diff', ...WEB, '--from', SCALED, '--to', DELETED]);
    expect(gone.code).toBe(1);
    expect(gone.stderr).toMatch(/: it did not exist at the time of --to\n/);
    const { stdout } = await api.cli([...WEB, '--kind', 'delete', '--since', SCALED, '-o', 'name']);
    const deletion = await api.cli(['diff', stdout.trim()]);
    expect(deletion.code).toBe(1);
    expect(deletion.stderr).toMatch(/before or after this delete there was no object\n/);
  });

  it('gives CSV', async () => {
    const { stdout } = await api.cli(['diff', imageChange, '-o', 'csv']);
    expect(stdout).toBe(
      `path,op,before,after,certainty\r\n${IMAGE},replace,registry.example.com/shop/web:1.0.0,registry.example.com/shop/web:1.1.0,exact\r\n`,
    );
  });

  it('gives JSON', async () => {
    const { stdout } = await api.cli(['diff', imageChange, '-o', 'json']);
    expect(JSON.parse(stdout)).toEqual([
      {
        path: IMAGE,
        op: 'replace',
        before: 'registry.example.com/shop/web:1.0.0',
        after: 'registry.example.com/shop/web:1.1.0',
        certainty: 'exact',
      },
    ]);
  });
});

describe('show', () => {
  it('of a change tells who, with what, why it was allowed, and what it set off', async () => {
    const { code, stdout } = await api.cli(['show', imageChange, '--utc']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^Who: {8}bob@example\.com {2}\(developers, system:authenticated\)$/m);
    expect(stdout).toMatch(/^With: {7}kubectl v1\.\d+\.\d+ from /m);
    expect(stdout).toMatch(/^Allowed by: RBAC: /m);
    expect(stdout).toMatch(/^Known: {6}before: exact, after: exact$/m);
    expect(stdout).toContain(
      `\n${IMAGE}\n- registry.example.com/shop/web:1.0.0\n+ registry.example.com/shop/web:1.1.0\n`,
    );
    expect(stdout).toMatch(
      /\nSet off:\n {2}13:37:59 create shop replicasets\/web-\w+ by system:serviceaccount:kube-system:deployment-controller\n/,
    );
  });

  it('--at gives the object as it was, as YAML', async () => {
    const { code, stdout, stderr } = await api.cli(['show', ...WEB, '--at', SCALED]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^# apps\/deployments shop\/web as of 2026-11-24 13:37:57Z, exact\n/);
    const manifest = parse(stdout) as Manifest;
    expect(manifest.kind).toBe('Deployment');
    expect(manifest.spec.replicas).toBe(3);
    expect(manifest.spec.template.spec.containers[0]!.image).toBe('registry.example.com/shop/web:1.0.0');
    expect(manifest.metadata.managedFields).toBeUndefined();
  });

  it('--at is as precise as the time that is given', async () => {
    const { stdout } = await api.cli(['show', imageChange, '-o', 'json']);
    const { at } = JSON.parse(stdout) as { at: string };
    const imageAt = async (time: string) => {
      const state = await api.cli(['show', ...WEB, '--at', time]);
      return (parse(state.stdout) as Manifest).spec.template.spec.containers[0]!.image;
    };
    expect(at).toMatch(/\.\d{6}Z$/);
    expect(await imageAt(at)).toMatch(/:1\.1\.0$/);
    const microsBefore = `${at.slice(0, 20)}${String(Number(at.slice(20, 26)) - 1).padStart(6, '0')}Z`;
    expect(await imageAt(microsBefore)).toMatch(/:1\.0\.0$/);
  });

  it('--show-managed-fields and --fields tell the rest', async () => {
    const whole = await api.cli(['show', ...WEB, '--at', SCALED, '--show-managed-fields']);
    expect((parse(whole.stdout) as Manifest).metadata.managedFields).toBeInstanceOf(Array);
    const { stdout } = await api.cli(['show', ...WEB, '--at', SCALED, '--fields']);
    expect(stdout).toMatch(/^FIELD +CERTAINTY +WHY +VALUE$/m);
    expect(stdout).toMatch(/^spec\.replicas +exact +3$/m);
  });

  it('says that an object is gone, or was not there yet', async () => {
    const gone = await api.cli(['show', ...WEB, '--at', DELETED]);
    expect(gone.code).toBe(0);
    expect(gone.stderr).toMatch(/^# deleted at 2026-11-24T13:40:43\.\d+Z; its last known state is shown$/m);
    expect(gone.stdout).toMatch(/, exact, deleted since\n/);
    const early = await api.cli(['show', ...WEB, '--at', BEFORE_ALL]);
    expect({ code: early.code, stdout: early.stdout }).toEqual({ code: 1, stdout: '' });
    expect(early.stderr).toContain(
      'whochanged: nothing is known of apps/deployments shop/web at that time\n',
    );
  });
});

describe('rollback', () => {
  it('gives a manifest that could be applied, and says what is missing in it', async () => {
    const { code, stdout, stderr } = await api.cli(['rollback', ...WEB, '--to', SCALED]);
    expect(code).toBe(0);
    const manifest = parse(stdout) as Manifest;
    expect(Object.keys(manifest)).toEqual(['apiVersion', 'kind', 'metadata', 'spec']);
    expect(Object.keys(manifest.metadata).sort()).toEqual(['annotations', 'labels', 'name', 'namespace']);
    expect(manifest.spec.replicas).toBe(3);
    const environment = manifest.spec.template.spec.containers[0]!.env!;
    expect(environment.find((item) => item.name === 'DB_PASSWORD')).toEqual({ name: 'DB_PASSWORD' });
    expect(stderr).toMatch(
      /^warning: .*env\[DB_PASSWORD\]\.value: a secret value, which is never stored; .*set it yourself$/m,
    );
    expect(stderr).toMatch(/^warning: the object does not exist now: applying this creates it anew$/m);
  });

  it('says what applying it would undo', async () => {
    const json = await api.cli([
      'rollback',
      'cronjob/tick',
      '-n',
      'shop',
      '--to',
      '2026-11-24T13:40:40Z',
      '-o',
      'json',
    ]);
    expect(JSON.parse(json.stdout)).toMatchObject({
      undoes: [{ path: 'spec.suspend', before: true, after: false }],
    });
    const text = await api.cli(['rollback', 'cronjob/tick', '-n', 'shop', '--to', '2026-11-24T13:40:40Z']);
    expect(text.stderr).toContain('applying it would make these changes:\nspec.suspend\n- true\n+ false\n');
    expect((parse(text.stdout) as { spec: { suspend: boolean } }).spec.suspend).toBe(false);
    // And whose doing it was.
    expect(text.stderr).toMatch(
      /^changed since then by\n {2}2026-11-24 13:40:43 {2}system:serviceaccount:ci:deployer {2}update {2}suspend: false → true {2}\(\S+\)\n$/m,
    );
  });

  it('tells what only a replace takes away', async () => {
    const ref = { resource: 'configmaps', namespace: 'shop', name: 'flags' };
    const cluster = new Cluster();
    const made = cluster.write('create', ref, { kind: 'ConfigMap', data: { a: '1' } });
    const added = cluster.write('patch', ref, { kind: 'ConfigMap', data: { a: '1', b: '2' } });
    await api.post(eventList([made, added]));
    const to = made.stageTimestamp as string;
    const { stderr } = await api.cli(['rollback', 'cm/flags', '-n', 'shop', '--to', to]);
    expect(stderr).toMatch(
      /^warning: data\.b: not in this manifest; kubectl replace takes away what is not/m,
    );
    expect(stderr).toContain('applying it would make these changes:\ndata.b\n- 2\n');
    const now = await api.cli(['rollback', 'cm/flags', '-n', 'shop', '--to', '0s']);
    expect(now.stderr).toMatch(/^# the version of \S+ \S+ \(exact\)\nnothing differs from what it is now\n$/);
  });

  it('to a time at which the object was not there gives nothing', async () => {
    const { code, stdout, stderr } = await api.cli(['rollback', 'hpa/web', '-n', 'shop', '--to', DELETED]);
    expect({ code, stdout }).toEqual({ code: 4, stdout: '' });
    expect(stderr).toMatch(/^whochanged: the object did not exist at 2026-11-24T13:41:00\S*Z\n.*history/);
  });

  it('to a change goes to the state before it', async () => {
    const { stdout } = await api.cli(['rollback', ...WEB, '--to', imageChange]);
    expect((parse(stdout) as Manifest).spec.template.spec.containers[0]!.image).toBe(
      'registry.example.com/shop/web:1.0.0',
    );
  });

  it('writes the manifest alone to stdout, so that it can be piped', async () => {
    const { stdout } = await api.cli(['rollback', ...WEB, '--to', SCALED, '-o', 'yaml']);
    expect(stdout).toBe((await api.cli(['rollback', ...WEB, '--to', SCALED])).stdout);
    expect(stdout).not.toMatch(/warning|undo/);
  });
});

describe('history and actor', () => {
  it('list everything that changed an object, also what controllers keep in it', async () => {
    const { stdout } = await api.cli(['history', ...WEB, '-o', 'json', '--limit', '1000']);
    const { items } = JSON.parse(stdout) as { items: Array<{ class: string; kind?: string }> };
    expect(items[0]).toMatchObject({ kind: 'delete' });
    expect(items.at(-1)).toMatchObject({ kind: 'create' });
    expect(new Set(items.map((item) => item.class))).toContain('status');
  });

  it('sum up what somebody did', async () => {
    // Two of them were done in his name by somebody else.
    const { stdout } = await api.cli(['actor', 'bob@example.com', '--limit', '2']);
    expect(stdout).toMatch(
      /^bob@example\.com\n {2}kinds: +.*\bexec 4\b.*\n {2}namespaces: shop 44\n {2}tools: +kubectl 42, session-script 2\n\nWHEN /,
    );
  });
});

it('a list says of what was refused what it was about, and how it was answered', async () => {
  const { stdout } = await api.cli([
    'access',
    '--all',
    '-n',
    'shop',
    '--actor',
    'mallory@example.com',
    '--since',
    BEFORE_ALL,
  ]);
  expect(stdout).toMatch(
    /mallory@example\.com +session-script +rejected create +shop pods\/box \(exec\) +403 Forbidden$/m,
  );
  const judged = await api.cli(['access', '--all', '-n', 'shop', '--since', BEFORE_ALL]);
  const rejected = judged.stdout.split('\n').filter((line) => line.includes(' rejected '));
  expect(judged.stdout).toMatch(/ out-of-band\S* /);
  expect(rejected.length).toBeGreaterThan(2);
  // No verdict is ever made of it.
  for (const line of rejected) expect(line).not.toMatch(/waiting|out-of-band/);
});

it('a list says of each change how what it tells is known', async () => {
  const cluster = new Cluster();
  const scale = {
    requestURI: '/apis/apps/v1/namespaces/shop/deployments/doubted/scale',
    objectRef: {
      apiGroup: 'apps',
      resource: 'deployments',
      namespace: 'shop',
      name: 'doubted',
      subresource: 'scale',
    },
    requestObject: { spec: { replicas: 4 } },
    responseObject: {
      kind: 'Scale',
      metadata: { name: 'doubted', namespace: 'shop' },
      spec: { replicas: 4 },
    },
  };
  const image = (tag: string) => ({
    spec: { template: { spec: { containers: [{ name: 'web', image: `web:${tag}` }] } } },
  });
  const request = { level: 'Request', requestObject: image('2'), responseObject: undefined };
  const metadata = { level: 'Metadata', requestObject: undefined, responseObject: undefined };
  await api.post(
    eventList([
      cluster.deployment('create', 'doubted', { image: 'web:1' }),
      cluster.deployment('patch', 'doubted', { image: 'web:1', replicas: 4 }, scale),
      cluster.deployment('patch', 'doubted', { image: 'web:2', replicas: 4 }, request),
      cluster.deployment('patch', 'doubted', { image: 'web:3', replicas: 4 }, metadata),
    ]),
  );
  const args = ['deploy/doubted', '-n', 'shop', '--since', '2026-03-01T00:00:00Z'];
  const { stdout } = await api.cli(args);
  const said = stdout.trimEnd().split('\n').slice(1).reverse();
  expect(said).toEqual([
    expect.stringMatching(/created \(web:1, 1 replica\)$/),
    expect.stringMatching(/replicas: 1 → 4$/),
    expect.stringMatching(/image web: web:1 → web:2 \[inferred\]$/),
    expect.stringMatching(/updated \(content not recorded\)$/),
  ]);
  const { items } = JSON.parse((await api.cli([...args, '-o', 'json'])).stdout) as {
    items: Array<{ certainty: { summary: string }; diff?: Array<{ certainty: string }> }>;
  };
  expect(items.map(({ certainty }) => certainty.summary).reverse()).toEqual([
    'exact',
    'exact',
    'inferred',
    'unknown',
  ]);
  expect(items[2]!.diff).toMatchObject([{ path: 'spec.replicas', certainty: 'exact' }]);
});

it('show tells of a request by a pod\u2019s token who and what stood behind it', async () => {
  const cluster = new Cluster();
  const webhook = { configuration: 'sidecars', webhook: 'inject.example.com', mutated: true };
  const event = cluster.deployment(
    'create',
    'by-pod',
    { image: 'web:1' },
    {
      user: {
        username: 'system:serviceaccount:ci:deployer',
        uid: 'u-ci',
        groups: ['system:serviceaccounts'],
        extra: {
          'authentication.kubernetes.io/pod-name': ['runner-7'],
          'authentication.kubernetes.io/pod-uid': ['u-runner'],
          'example.com/run': ['42'],
        },
      },
      impersonatedUser: { username: 'carol@example.com', groups: ['developers'] },
      annotations: {
        'authorization.k8s.io/decision': 'allow',
        'authorization.k8s.io/reason': 'RBAC: allowed by RoleBinding "deployer/ci"',
        'mutation.webhook.admission.k8s.io/round_0_index_0': JSON.stringify(webhook),
        'mutation.webhook.admission.k8s.io/round_0_index_1': JSON.stringify({
          ...webhook,
          webhook: 'idle',
          mutated: false,
        }),
      },
    },
  );
  await api.post(eventList([event]));
  const [id] = (await api.cli(['deploy/by-pod', '--since', '2026-03-01', '-o', 'name'])).stdout.split('\n');
  const { stdout } = await api.cli(['show', id!]);
  expect(stdout).toMatch(/^When: .*, took 5 ms$/m);
  expect(stdout).toMatch(/^Who: +system:serviceaccount:ci:deployer as carol@example\.com/m);
  expect(stdout).toMatch(/^Pod: +ci\/runner-7$/m);
  expect(stdout).toMatch(/^With: +kubectl v1\.32\.1 from 10\.1\.2\.3$/m);
  expect(stdout).toMatch(/^Allowed by: RBAC: allowed by RoleBinding "deployer\/ci"$/m);
  expect(stdout).toMatch(/^Mutated by: sidecars\/inject\.example\.com$/m);
  const { actor } = JSON.parse((await api.cli(['show', id!, '-o', 'json'])).stdout) as { actor: unknown };
  expect(actor).toMatchObject({
    uid: 'u-ci',
    extra: { 'example.com/run': ['42'] },
    serviceAccount: { namespace: 'ci', name: 'deployer' },
    pod: { name: 'runner-7', uid: 'u-runner' },
    impersonatedUser: { username: 'carol@example.com', groups: ['developers'] },
  });
});

it('a collection whose objects were not told is said to be so; told ones are listed each', async () => {
  const cluster = new Cluster();
  const ref = (name: string) => ({ resource: 'configmaps', namespace: 'bulk', name });
  const one = cluster.write('create', ref('one'), { kind: 'ConfigMap', data: { a: '1' } });
  const gone = (responseObject: unknown) =>
    cluster.event({
      verb: 'deletecollection',
      requestURI: '/api/v1/namespaces/bulk/configmaps',
      objectRef: { resource: 'configmaps', namespace: 'bulk', apiVersion: 'v1' },
      responseObject,
    });
  const told = gone({ kind: 'ConfigMapList', apiVersion: 'v1', metadata: {}, items: [one.responseObject] });
  const untold = gone({ kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success' });
  await api.post(eventList([one, told, untold]));
  const since = ['--since', '2026-03-01'];
  const list = await api.cli(['-n', 'bulk', ...since]);
  expect(list.stdout).toMatch(/deleted a collection \(which objects is not recorded\)\n/);
  expect(list.stdout).toMatch(/deleted a collection\n/);
  const history = JSON.parse((await api.cli(['history', 'cm/one', '-n', 'bulk', '-o', 'json'])).stdout) as {
    items: Array<{ id: string; kind: string; summary: string; flags: string[] }>;
  };
  expect(history.items[0]).toMatchObject({
    kind: 'delete',
    summary: 'deleted (a)',
    flags: ['item_of_collection'],
  });
  const shown = await api.cli(['show', history.items[0]!.id]);
  expect(shown.stdout).toMatch(/^Told by: +default \(webhook\): ResponseComplete$/m);
});
