import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { AuditEvent, Json, JsonObject, ObjectReference } from '../../../core/audit-event.js';
import { auditEvent, base64, digest, leaks, redact, secrets } from './seeded.js';

const SECRETS: ObjectReference = { resource: 'secrets' };
const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration';

/** Where a secret can stand as a whole value: whatever its characters, it becomes its digest. */
const WHOLE: Record<string, (secret: string) => Json> = {
  'Secret data': (s) => ({ kind: 'Secret', apiVersion: 'v1', data: { a: base64(s) } }),
  'Secret stringData': (s) => ({ kind: 'Secret', stringData: { a: s } }),
  'last-applied': (s) => ({
    metadata: { annotations: { [LAST_APPLIED]: JSON.stringify({ kind: 'Secret', stringData: { a: s } }) } },
  }),
  'last-applied data': (s) => ({
    metadata: {
      annotations: { [LAST_APPLIED]: `${JSON.stringify({ kind: 'Secret', data: { a: base64(s) } })}\n` },
    },
  }),
  env: (s) => ({
    env: [
      { name: 'LOG', value: 'x' },
      { name: 'DB_PASSWORD', value: s },
    ],
  }),
  'env in last-applied': (s) => ({
    metadata: { annotations: { [LAST_APPLIED]: JSON.stringify({ env: [{ name: 'API_KEY', value: s }] }) } },
  }),
  annotation: (s) => ({ metadata: { annotations: { 'example.com/api-token': s } } }),
  label: (s) => ({ metadata: { labels: { password: s } } }),
  'ConfigMap key': (s) => ({ kind: 'ConfigMap', data: { DB_PASSWORD: s } }),
  'nested field': (s) => ({ spec: { auth: { credentials: { mine: { deeper: [s] } } } } }),
  'TokenRequest status': (s) => ({ kind: 'TokenRequest', status: { token: s } }),
  'flag with value': (s) => ({ args: ['serve', `--db-password=${s}`] }),
  'flag before value': (s) => ({ command: ['serve', '--token', s] }),
  'JSON Patch of env': (s) => [
    { op: 'add', path: '/spec/containers/0/env/-', value: { name: 'A_SECRET', value: s } },
  ],
  'JSON Patch of an env value': (s) => [{ op: 'replace', path: '/spec/containers/0/env/1/value', value: s }],
  'JSON Patch of annotations': (s) => [
    { op: 'add', path: '/metadata/annotations', value: { 'x/password': s } },
  ],
  'JSON in a string': (s) => ({ data: { 'app.json': JSON.stringify({ db: { password: s } }, null, 2) } }),

  SealedSecret: (s) => ({ kind: 'SealedSecret', spec: { template: { data: { a: s } } } }),
};

/** The same in the body of a request about Secrets, whose kind need not be said. */
const ABOUT_SECRETS: Record<string, (secret: string) => Json> = {
  'merge patch': (s) => ({ data: { a: base64(s), b: null } }),
  'strategic patch': (s) => ({ stringData: { $patch: 'replace', a: s } }),
  apply: (s) => ({ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'x' }, data: { a: base64(s) } }),
  'JSON Patch of a key': (s) => [{ op: 'replace', path: '/data/a', value: base64(s) }],
  'JSON Patch of the map': (s) => [{ op: 'add', path: '/data', value: { a: base64(s) } }],
  'JSON Patch of the object': (s) => [{ op: 'add', path: '', value: { stringData: { a: s } } }],
  'JSON Patch of last-applied': (s) => [
    {
      op: 'add',
      path: '/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration',
      value: JSON.stringify({ stringData: { a: s } }),
    },
  ],
  items: (s) => ({ kind: 'SecretList', items: [{ metadata: { name: 'a' } }, { data: { a: base64(s) } }] }),
};

/** Where a secret can stand inside a longer string, if its characters allow. */
const INSIDE: Record<string, (secret: string) => Json> = {
  URL: (s) => ({ env: [{ name: 'DATABASE_URL', value: `postgres://app:${s}@db:5432/shop` }] }),
  'properties text': (s) => ({ data: { 'app.properties': `a=b\ndb.password=${s}\nc=d` } }),
  'YAML text': (s) => ({ data: { 'app.yaml': `a: b\napiKey: ${s}\nc: d\n` } }),
  'YAML manifest': (s) => ({
    data: { 'x.yaml': `kind: Secret\ndata:\n  a: ${base64(s)}\nstringData:\n  b: |\n    ${s}\n` },
  }),
  'YAML env': (s) => ({ spec: { values: `env:\n- name: DB_PASSWORD\n  value: ${s}\n` } }),
  'shell text': (s) => ({ args: ['sh', '-c', `export TOKEN=${s} && run --password ${s} -x`] }),
  message: (s) => ({ kind: 'Status', message: `could not log in with password=${s}, giving up` }),
  'JSON that does not parse': (s) => ({ data: { x: `{"token":"${s}","a":` } }),
  'connection string': (s) => ({ data: { x: `Server=db;Password=${s};Database=x` } }),
  'base64 of a URL': (s) => ({ data: { x: base64(`amqp://u:${s}@h/`) } }),
  JWT: (s) => ({ data: { x: `got eyJhbGciOiJub25lIn0.${Buffer.from(s).toString('base64url')}.x` } }),
  'private key': (s) => ({
    data: { x: `-----BEGIN EC PRIVATE KEY-----\n${s}\n-----END EC PRIVATE KEY-----` },
  }),
};

/** Around a body: lists, wrappers and templates to any depth. */
const wrapping: fc.Arbitrary<(body: Json) => Json> = fc
  .array(
    fc.constantFrom<(body: Json) => Json>(
      (body) => ({ kind: 'List', apiVersion: 'v1', items: [{ kind: 'ConfigMap' }, body] }),
      (body) => ({ spec: { template: body, replicas: 2 } }),
      (body) => ({ object: body, note: 'plain' }),
      (body) => [body, 'plain'],
      (body) => ({ rows: [{ cells: ['a', 1], object: body }] }),
      (body) => ({ metadata: { annotations: { copy: JSON.stringify(body) } } }),
    ),
    { maxLength: 4 },
  )
  .map((wrappers) => (body) => wrappers.reduce((inner, wrap) => wrap(inner), body));

function place(places: Record<string, (secret: string) => Json>) {
  return fc
    .constantFrom(...Object.entries(places))
    .map(([name, make]) => ({ name, make, toString: () => name }));
}

function check(event: AuditEvent, secret: string, whole: boolean): void {
  const out = redact(event);
  const text = JSON.stringify(out);
  expect(leaks(secret, text)).toEqual([]);
  if (whole) expect(text).toContain(digest(secret));
  expect(redact(out)).toEqual(out);
}

const events = (body: Json, ref?: ObjectReference): AuditEvent[] => [
  auditEvent({ requestObject: body }, ref),
  auditEvent({ responseObject: body }, ref),
  auditEvent(
    {
      annotations: {
        'patch.webhook.admission.k8s.io/round_0_index_1': JSON.stringify({
          patch: body,
          patchType: 'JSONPatch',
        }),
      },
    },
    ref,
  ),
];

describe('no secret survives, and the output is stable', () => {
  test('as a whole value, anywhere', () => {
    fc.assert(
      fc.property(place(WHOLE), wrapping, secrets('any'), ({ make }, wrap, secret) => {
        for (const event of events(wrap(make(secret)))) check(event, secret, true);
      }),
      { numRuns: 400 },
    );
  });

  test('in every body about Secrets', () => {
    fc.assert(
      fc.property(place(ABOUT_SECRETS), secrets('any'), ({ make }, secret) => {
        for (const event of events(make(secret), SECRETS)) check(event, secret, true);
      }),
      { numRuns: 400 },
    );
    // Here a document in `data` is digested whole, and the secret with it.
    fc.assert(
      fc.property(place(WHOLE), wrapping, secrets('any'), ({ make }, wrap, secret) => {
        for (const event of events(wrap(make(secret)), SECRETS)) check(event, secret, false);
      }),
      { numRuns: 200 },
    );
  });

  test('inside a longer string', () => {
    fc.assert(
      fc.property(
        place(INSIDE),
        wrapping,
        secrets('token'),
        fc.boolean(),
        ({ make }, wrap, secret, about) => {
          for (const event of events(wrap(make(secret)), about ? SECRETS : undefined))
            check(event, secret, false);
        },
      ),
      { numRuns: 600 },
    );
  });

  test('outside bodies', () => {
    const uri = '/api/v1/namespaces/a/pods/b/exec?';
    const makers: ((secret: string) => Partial<AuditEvent>)[] = [
      (s) => ({ requestURI: `${uri}token=${encodeURIComponent(s)}` }),
      (s) => ({ requestURI: `${uri}command=x&command=${encodeURIComponent(`--password=${s}`)}` }),
      (s) => ({ requestURI: `${uri}command=x&command=--token&command=${encodeURIComponent(s)}` }),
      (s) => ({ requestURI: `${uri}x=${encodeURIComponent(`redis://u:${s}@h`)}` }),
      (s) => ({ userAgent: `x/1 (password=${s})` }),
      (s) => ({ user: { username: 'a', extra: { 'example.com/access-token': [s] } } }),
      (s) => ({ responseStatus: { code: 400, message: `bad --token ${s} given` } }),
      (s) => ({ annotations: { 'example.com/secret': s } }),
    ];
    fc.assert(
      fc.property(fc.constantFrom(...makers), secrets('token'), (make, secret) =>
        check(auditEvent(make(secret)), secret, false),
      ),
      { numRuns: 300 },
    );
  });

  test('equal values have equal digests in every form, different ones different', () => {
    fc.assert(
      fc.property(secrets('any'), secrets('any'), (a, b) => {
        const body = {
          kind: 'Secret',
          data: { a: base64(a), b: base64(b) },
          stringData: { a, b },
          env: [{ name: 'A_TOKEN', value: a }],
        };
        const out = redact(auditEvent({ requestObject: body }, SECRETS)).requestObject as typeof body;
        expect(out.data.a).toBe(out.stringData.a);
        expect(out.data.a).toBe(out.env[0]?.value);
        expect(out.data.a === out.data.b).toBe(a === b);
      }),
    );
  });
});

describe('what is no secret stays', () => {
  const ordinary = fc.oneof(
    fc.constantFrom<Json>(
      'registry.example.com/team/web:v1.2.3@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
      'containerd://9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
      '2024-05-06T07:08:09.123456Z',
      '500m',
      '10.96.0.1',
      'kubernetes.io/service-account-token',
      '--leader-elect=true',
      '/var/run/secrets/kubernetes.io/serviceaccount',
      'a sentence, of words.',
      'app in (web,api)',
      '{"a":[1,2,{"b":null}]}',
      'key: value\nother: 1\n',
      '',
      null,
      true,
      12,
      0.5,
    ),
    fc.uuid(),
    fc.integer({ min: 1 }).map(String),
    fc.stringMatching(/^[a-z][a-z0-9-]{0,40}$/),
  );
  const key = fc.constantFrom(
    'name',
    'namespace',
    'uid',
    'resourceVersion',
    'image',
    'imageID',
    'containerID',
    'spec',
    'status',
    'metadata',
    'labels',
    'annotations',
    'data',
    'items',
    'template',
    'secretName',
    'tokenExpirationSeconds',
    'secretKeyRef',
    'args',
    'command',
    'path',
    'host',
    'conditions',
    'f:spec',
    'k:{"name":"web"}',
    'serviceAccountName',
    'app.kubernetes.io/name',
    'message',
    'env',
  );
  const tree = fc.letrec<{ node: Json; object: JsonObject }>((tie) => ({
    node: fc.oneof(
      { maxDepth: 5, depthSize: 'medium' },
      ordinary,
      tie('object'),
      fc.array(tie('node'), { maxLength: 4 }),
    ),
    object: fc.dictionary(key, tie('node'), { maxKeys: 6 }),
  }));

  test('to the last field', () => {
    fc.assert(
      fc.property(tree.object, tree.node, (requestObject, responseObject) => {
        const event = auditEvent({ requestObject, responseObject });
        expect(redact(event)).toEqual(event);
      }),
      { numRuns: 500 },
    );
  });

  test('and what did not change is shared', () => {
    const event = auditEvent({ requestObject: { a: { b: 1 }, password: 'hunter2' } });
    const before = event.requestObject as JsonObject;
    const after = redact(event).requestObject as JsonObject;
    expect(after).toEqual({ ...before, password: digest('hunter2') });
  });
});
