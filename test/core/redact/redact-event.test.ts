import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import type { Json } from '../../../core/audit-event.js';
import { createKeyedDigest } from '../../../core/redact/keyed-digest.js';
import { redactEvent } from '../../../core/redact/redact-event.js';
import { auditEvent, base64, digest, redact, redactBody, rules } from './seeded.js';

const hunter = digest('hunter2');
const secretsRef = { resource: 'secrets' };
const PEM = '-----BEGIN PRIVATE KEY-----\nMIIBOgIBAAJBAKj34GkxFhD90vcN\n-----END PRIVATE KEY-----\n';
const GZIPPED = gzipSync('a chart with its values').toString('base64');
const CERTIFICATE = '-----BEGIN CERTIFICATE-----\nMIIBOgIBAAJBAKj34GkxFhD90vcN\n-----END CERTIFICATE-----\n';

describe('Secrets', () => {
  test('data is digested decoded, stringData as it stands; keys, empty values and null stay', () => {
    const body = {
      kind: 'Secret',
      apiVersion: 'v1',
      metadata: { name: 'db', labels: { app: 'web' }, resourceVersion: '12' },
      type: 'Opaque',
      data: {
        password: base64('hunter2'),
        empty: '',
        gone: null,
        odd: 'not base64!',
        bytes: '//79',
        n: 7,
        on: true,
        deep: { b: 1, a: 2 },
      },
      stringData: { password: 'hunter2' },
      immutable: false,
    };
    expect(redactBody(body, secretsRef)).toEqual({
      ...body,
      data: {
        password: hunter,
        empty: '',
        gone: null,
        odd: digest('not base64!'),
        bytes: digest('//79'),
        n: digest('7'),
        on: digest('true'),
        deep: digest('{"a":2,"b":1}'),
      },
      stringData: { password: hunter },
    });
    // The kind alone is enough, and so is the resource.
    expect(redactBody(body)).toEqual(redactBody(body, secretsRef));
    expect(redactBody({ data: { a: 'aGk=' } }, secretsRef)).toEqual({ data: { a: digest('hi') } });
  });

  test.each<[string, Json, Json]>([
    [
      'SecretList, whose items have no kind',
      { kind: 'SecretList', items: [{ data: { a: 'aGk=' } }] },
      { kind: 'SecretList', items: [{ data: { a: digest('hi') } }] },
    ],
    [
      'List',
      {
        kind: 'List',
        items: [
          { kind: 'Secret', data: { a: 'aGk=' } },
          { kind: 'ConfigMap', data: { a: 'aGk=' } },
        ],
      },
      {
        kind: 'List',
        items: [
          { kind: 'Secret', data: { a: digest('hi') } },
          { kind: 'ConfigMap', data: { a: 'aGk=' } },
        ],
      },
    ],
    [
      'Table',
      {
        kind: 'Table',
        columnDefinitions: [{ name: 'Name' }],
        rows: [{ cells: ['a'], object: { kind: 'Secret', data: { a: 'aGk=' } } }],
      },
      {
        kind: 'Table',
        columnDefinitions: [{ name: 'Name' }],
        rows: [{ cells: ['a'], object: { kind: 'Secret', data: { a: digest('hi') } } }],
      },
    ],
    [
      'a column of secrets in a Table',
      {
        kind: 'Table',
        columnDefinitions: [{ name: 'Name' }, { name: 'Password' }],
        rows: [{ cells: ['a', 'hunter2'] }],
      },
      {
        kind: 'Table',
        columnDefinitions: [{ name: 'Name' }, { name: 'Password' }],
        rows: [{ cells: ['a', hunter] }],
      },
    ],
    [
      'SealedSecret',
      {
        kind: 'SealedSecret',
        spec: {
          encryptedData: { a: 'AgBy8h' },
          template: { data: { a: 'hunter2' }, metadata: { name: 'x' } },
        },
      },
      {
        kind: 'SealedSecret',
        spec: { encryptedData: { a: 'AgBy8h' }, template: { data: { a: hunter }, metadata: { name: 'x' } } },
      },
    ],
    [
      'ExternalSecret',
      {
        kind: 'ExternalSecret',
        spec: {
          data: [{ secretKey: 'password', remoteRef: { key: 'prod/db' } }],
          target: { name: 'db', template: { data: { a: 'hunter2' } } },
        },
      },
      {
        kind: 'ExternalSecret',
        spec: {
          data: [{ secretKey: 'password', remoteRef: { key: 'prod/db' } }],
          target: { name: 'db', template: { data: { a: hunter } } },
        },
      },
    ],
  ])('in %s', (_, body, expected) => {
    expect(redactBody(body)).toEqual(expected);
  });

  test.each<[string, Json, Json]>([
    ['merge patch', { data: { a: 'aGk=', b: null } }, { data: { a: digest('hi'), b: null } }],
    [
      'strategic merge patch',
      { data: { $patch: 'replace', a: 'aGk=' } },
      { data: { $patch: 'replace', a: digest('hi') } },
    ],
    [
      'JSON Patch, one key',
      [{ op: 'replace', path: '/data/a', value: 'aGk=' }],
      [{ op: 'replace', path: '/data/a', value: digest('hi') }],
    ],
    [
      'JSON Patch, the map',
      [{ op: 'add', path: '/stringData', value: { a: 'hi' } }],
      [{ op: 'add', path: '/stringData', value: { a: digest('hi') } }],
    ],
    [
      'JSON Patch, the object',
      [{ op: 'replace', path: '', value: { data: { a: 'aGk=' } } }],
      [{ op: 'replace', path: '', value: { data: { a: digest('hi') } } }],
    ],
    [
      'JSON Patch, a test',
      [{ op: 'test', path: '/data/x~1y', value: 'aGk=' }],
      [{ op: 'test', path: '/data/x~1y', value: digest('hi') }],
    ],
    ['JSON Patch, without a value', [{ op: 'remove', path: '/data/a' }], [{ op: 'remove', path: '/data/a' }]],
  ])('in a %s', (_, body, expected) => {
    expect(redactBody(body, secretsRef)).toEqual(expected);
  });

  test('in a patch of a resource that makes Secrets, which does not tell its kind', () => {
    const patch = (value: string) => ({ spec: { template: { data: { a: value } } } });
    expect(redactBody(patch('hunter2'), { resource: 'sealedsecrets', apiGroup: 'bitnami.com' })).toEqual(
      patch(hunter),
    );
    expect(redactBody(patch('hunter2'))).toEqual(patch('hunter2'));
  });

  test('in messages that quote what was rejected', () => {
    const quoted = 'Secret "db" is invalid: data[a]: Invalid value: "hunter2: x": must be a valid key';
    const decoder =
      'cannot decode: error found in #10 byte of ...|"a":"hunter2"|..., bigger context ...|{"data":{"a":"hunter2"}}|...';
    for (const message of [quoted, decoder]) {
      const status = { kind: 'Status', status: 'Failure', message, code: 422 };
      const out = redact(
        auditEvent({ responseStatus: { code: 422, message }, responseObject: status }, secretsRef),
      );
      expect(JSON.stringify(out)).not.toContain('hunter2');
      expect(out.responseStatus?.message).toMatch(
        /^(Secret "db" is invalid: data\[a\]: Invalid value: \[redacted:\w+\]: must be a valid key|cannot decode: error found in #10 byte of \.\.\.\|\[redacted:\w+\]\|\.\.\.)$/,
      );
    }
  });
});

describe('copies of an object', () => {
  const key = 'kubectl.kubernetes.io/last-applied-configuration';
  const copy = `${JSON.stringify({ kind: 'Secret', data: { a: 'aGk=' } })}\n`;
  const hidden = `${JSON.stringify({ kind: 'Secret', data: { a: digest('hi') } })}\n`;

  test.each<[string, Json, Json]>([
    [
      'on an object',
      { metadata: { annotations: { [key]: copy } } },
      { metadata: { annotations: { [key]: hidden } } },
    ],
    [
      'JSON Patch, the annotation',
      [
        {
          op: 'add',
          path: '/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration',
          value: copy,
        },
      ],
      [
        {
          op: 'add',
          path: '/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration',
          value: hidden,
        },
      ],
    ],
    [
      'JSON Patch, all annotations',
      [{ op: 'add', path: '/metadata/annotations', value: { [key]: copy } }],
      [{ op: 'add', path: '/metadata/annotations', value: { [key]: hidden } }],
    ],
    [
      'unreadable',
      { metadata: { annotations: { [key]: '{"data":' } } },
      { metadata: { annotations: { [key]: digest('{"data":') } } },
    ],
    [
      'compressed',
      { metadata: { annotations: { 'objectset.rio.cattle.io/applied': 'H4sIAAAA' } } },
      { metadata: { annotations: { 'objectset.rio.cattle.io/applied': digest('H4sIAAAA') } } },
    ],
    [
      'under another name',
      { metadata: { annotations: { 'example.com/copy': copy } } },
      { metadata: { annotations: { 'example.com/copy': hidden } } },
    ],
  ])('%s', (_, body, expected) => {
    expect(redactBody(body)).toEqual(expected);
    expect(redactBody(body, secretsRef)).toEqual(expected);
  });

  test('a copy without kind is what the event is about', () => {
    const body = { metadata: { annotations: { [key]: '{"data":{"a":"aGk="}}' } } };
    expect(redactBody(body, secretsRef)).toEqual({
      metadata: { annotations: { [key]: `{"data":{"a":"${digest('hi')}"}}` } },
    });
  });

  test('of equal keys in embedded JSON the earlier is not kept', () => {
    const text = '{"kind":"ConfigMap","data":{"a":"-----BEGIN PRIVATE KEY-----x","a":"ok"}}';
    expect(redactBody({ metadata: { annotations: { [key]: text } } })).toEqual({
      metadata: { annotations: { [key]: '{"kind":"ConfigMap","data":{"a":"ok"}}' } },
    });
  });
});

describe('in workloads', () => {
  const container = (over: Record<string, Json>): Json => ({
    spec: { template: { spec: { containers: [{ name: 'web', image: 'nginx:1.27', ...over }] } } },
  });

  test.each<[string, Record<string, Json>, Record<string, Json>]>([
    [
      'env by name',
      {
        env: [
          { name: 'DB_PASSWORD', value: 'hunter2' },
          { name: 'TOKEN_TTL', value: '3600' },
          { name: 'LOG', value: 'debug' },
        ],
      },
      {
        env: [
          { name: 'DB_PASSWORD', value: hunter },
          { name: 'TOKEN_TTL', value: '3600' },
          { name: 'LOG', value: 'debug' },
        ],
      },
    ],
    [
      'env by value',
      { env: [{ name: 'DATABASE_URL', value: 'postgres://app:hunter2@db/shop' }] },
      { env: [{ name: 'DATABASE_URL', value: `postgres://app:${hunter}@db/shop` }] },
    ],
    [
      'env from a Secret',
      { env: [{ name: 'DB_PASSWORD', valueFrom: { secretKeyRef: { name: 'db', key: 'password' } } }] },
      { env: [{ name: 'DB_PASSWORD', valueFrom: { secretKeyRef: { name: 'db', key: 'password' } } }] },
    ],
    [
      'env that refers to another',
      { env: [{ name: 'DB_PASSWORD', value: '$(OTHER)' }] },
      { env: [{ name: 'DB_PASSWORD', value: '$(OTHER)' }] },
    ],
    [
      'a flag',
      { args: ['--password=hunter2 x', '--v=2'] },
      { args: [`--password=${digest('hunter2 x')}`, '--v=2'] },
    ],
    [
      'a flag and its value',
      { args: ['--token', 'hunter2', '--name', 'x'] },
      { args: ['--token', hunter, '--name', 'x'] },
    ],
    [
      'a program named in command',
      { command: ['mysql'], args: ['-phunter2'] },
      { command: ['mysql'], args: [`-p${hunter}`] },
    ],
    [
      'a literal for kubectl',
      { command: ['kubectl', 'create', 'secret', 'generic', 'x', '--from-literal=a=hunter2'] },
      { command: ['kubectl', 'create', 'secret', 'generic', 'x', `--from-literal=${digest('a=hunter2')}`] },
    ],
    [
      'a script',
      { command: ['sh', '-c', 'export TOKEN=hunter2\nrun'] },
      { command: ['sh', '-c', `export TOKEN=${hunter}\nrun`] },
    ],
    [
      'a probe header',
      { livenessProbe: { httpGet: { httpHeaders: [{ name: 'Authorization', value: 'hunter2' }] } } },
      { livenessProbe: { httpGet: { httpHeaders: [{ name: 'Authorization', value: hunter }] } } },
    ],
  ])('%s', (_, over, expected) => {
    expect(redactBody(container(over))).toEqual(container(expected));
  });

  test('a patched item of a list, whose name the patch does not tell', () => {
    const patch = (value: string) => [
      { op: 'replace', path: '/spec/template/spec/containers/0/env/2/value', value },
      { op: 'replace', path: '/spec/template/spec/containers/0/args/1', value },
      { op: 'replace', path: '/spec/template/spec/containers/0/image', value: 'nginx:1.28' },
    ];
    expect(redactBody(patch('hunter2'))).toEqual([
      { ...patch(hunter)[0] },
      { ...patch(hunter)[1] },
      { op: 'replace', path: '/spec/template/spec/containers/0/image', value: 'nginx:1.28' },
    ]);
  });
});

describe('elsewhere in bodies', () => {
  test.each<[string, Json, Json]>([
    [
      'TokenRequest',
      {
        kind: 'TokenRequest',
        spec: { expirationSeconds: 3600, audiences: ['a'] },
        status: { token: 'hunter2', expirationTimestamp: '2024-01-01T00:00:00Z' },
      },
      {
        kind: 'TokenRequest',
        spec: { expirationSeconds: 3600, audiences: ['a'] },
        status: { token: hunter, expirationTimestamp: '2024-01-01T00:00:00Z' },
      },
    ],
    [
      'TokenReview',
      {
        kind: 'TokenReview',
        spec: { token: 'hunter2' },
        status: { authenticated: true, user: { username: 'bob' } },
      },
      {
        kind: 'TokenReview',
        spec: { token: hunter },
        status: { authenticated: true, user: { username: 'bob' } },
      },
    ],
    [
      'a private key in a ConfigMap',
      { data: { 'a.pem': PEM, 'b.pem': CERTIFICATE } },
      { data: { 'a.pem': `${digest(PEM.trim())}\n`, 'b.pem': CERTIFICATE } },
    ],
    [
      'an encoded private key',
      { caBundle: base64(CERTIFICATE), other: base64(PEM) },
      { caBundle: base64(CERTIFICATE), other: digest(PEM) },
    ],
    ['compressed data', { data: { release: GZIPPED } }, { data: { release: digest(GZIPPED) } }],
    [
      'an embedded document',
      { data: { 'app.json': '{"db":{"password":"hunter2","port":1}}' } },
      { data: { 'app.json': `{"db":{"password":"${hunter}","port":1}}` } },
    ],
    [
      'labels and annotations',
      {
        metadata: {
          labels: { token: 'hunter2', app: 'web' },
          annotations: { 'example.com/api-key': 'hunter2' },
        },
      },
      { metadata: { labels: { token: hunter, app: 'web' }, annotations: { 'example.com/api-key': hunter } } },
    ],
    [
      'numbers',
      { spec: { password: 1234567, port: 80 } },
      { spec: { password: digest('1234567'), port: 80 } },
    ],
    [
      'a list and a map of secrets',
      { passwords: ['hunter2'], credentials: { db: 'hunter2', secretRef: { name: 'x' }, type: 'basic' } },
      { passwords: [hunter], credentials: { db: hunter, secretRef: { name: 'x' }, type: 'basic' } },
    ],
    [
      'what an object about Secrets refers to',
      {
        automountServiceAccountToken: false,
        imagePullSecrets: [{ name: 'regcred' }],
        volumes: [
          { secret: { secretName: 'a', defaultMode: 420, items: [{ key: 'tls.key', path: 'x' }] } },
          {
            projected: {
              sources: [{ serviceAccountToken: { audience: 'a', expirationSeconds: 60, path: 'token' } }],
            },
          },
        ],
        secrets: [{ name: 'web-token-x' }],
      },
      {
        automountServiceAccountToken: false,
        imagePullSecrets: [{ name: 'regcred' }],
        volumes: [
          { secret: { secretName: 'a', defaultMode: 420, items: [{ key: 'tls.key', path: 'x' }] } },
          {
            projected: {
              sources: [{ serviceAccountToken: { audience: 'a', expirationSeconds: 60, path: 'token' } }],
            },
          },
        ],
        secrets: [{ name: 'web-token-x' }],
      },
    ],
    [
      'a schema',
      {
        openAPIV3Schema: {
          properties: {
            password: { type: 'string', description: 'the password' },
            token: { default: 'none' },
          },
        },
      },
      {
        openAPIV3Schema: {
          properties: {
            password: { type: 'string', description: 'the password' },
            token: { default: 'none' },
          },
        },
      },
    ],
    [
      'managed fields',
      {
        metadata: {
          managedFields: [
            {
              manager: 'kubectl',
              fieldsV1: { 'f:data': { 'f:password': {} }, 'f:stringData': { 'v:"x"': {} } },
            },
          ],
        },
      },
      {
        metadata: {
          managedFields: [
            {
              manager: 'kubectl',
              fieldsV1: { 'f:data': { 'f:password': {} }, 'f:stringData': { 'v:"x"': {} } },
            },
          ],
        },
      },
    ],
  ])('%s', (_, body, expected) => {
    expect(redactBody(body)).toEqual(expected);
  });

  test('an immutable template quoted in a message takes its environment along', () => {
    const message =
      'Job.batch "x" is invalid: spec.template: Invalid value: core.PodTemplateSpec{Env:[]core.EnvVar{core.EnvVar{Name:"A", Value:"hunter2"}}}: field is immutable';
    const out = redact(auditEvent({ responseStatus: { code: 422, message } }));
    expect(out.responseStatus?.message).toMatch(
      /^Job\.batch "x" is invalid: spec\.template: Invalid value: \[redacted:\w{16}\]: field is immutable$/,
    );
  });

  test('__proto__ is a key like others', () => {
    const body = JSON.parse(
      '{"__proto__":{"password":"hunter2"},"kind":"x","data":{"__proto__":"password=hunter2"}}',
    ) as Json;
    const out = redactBody(body);
    expect(JSON.stringify(out)).toBe(
      `{"__proto__":{"password":"${hunter}"},"kind":"x","data":{"__proto__":"password=${hunter}"}}`,
    );
    expect(Object.getPrototypeOf(out)).toBe(Object.prototype);
    expect(({} as Record<string, unknown>).password).toBeUndefined();
  });

  test('nesting beyond 128 levels is digested whole', () => {
    const nest = (levels: number): Json =>
      JSON.parse(`${'{"a":['.repeat(levels)}"hunter2"${']}'.repeat(levels)}`) as Json;
    for (const levels of [70, 5_000]) {
      // structuredClone has a depth limit of its own.
      const event = auditEvent();
      event.requestObject = nest(levels);
      const out = JSON.stringify(redactEvent(event, rules, digest).requestObject);
      expect(out).toContain('[redacted:');
      expect(out).not.toContain('hunter2');
    }
    expect(redactBody(nest(60))).toEqual(nest(60));
  });
});

describe('outside bodies', () => {
  test('the request URI', () => {
    const uri = (requestURI: string) => redact(auditEvent({ requestURI })).requestURI;
    const exec = '/api/v1/namespaces/a/pods/b/exec?command=';
    expect(uri(`${exec}mysql&command=--password%3Dhunter2&container=c`)).toBe(
      `${exec}mysql&command=--password%3D${hunter}&container=c`,
    );
    expect(uri(`${exec}sh&command=-c&command=export+TOKEN%3Dhunter2&stdin=true`)).toBe(
      `${exec}sh&command=-c&command=export%20TOKEN%3D${hunter}&stdin=true`,
    );
    expect(uri(`${exec}x&command=--token&command=hunter2`)).toBe(
      `${exec}x&command=--token&command=${hunter}`,
    );
    expect(uri('/a/proxy/x?access_token=hunter2&b=1')).toBe(`/a/proxy/x?access_token=${hunter}&b=1`);
    expect(uri('/a/proxy/x?u=postgres%3A%2F%2Fa%3Ahunter2%40h')).toBe(
      `/a/proxy/x?u=postgres:%2F%2Fa:${hunter}%40h`,
    );
    const plain =
      '/api/v1/namespaces/a/pods?labelSelector=app%3Dweb%2Ctier%20in%20(a)&limit=500&resourceVersion=12&timeoutSeconds=300';
    expect(uri(plain)).toBe(plain);
  });

  test('what clients say of themselves', () => {
    const out = redact(
      auditEvent({
        userAgent: 'curl/8 token=hunter2',
        auditID: 'ghp_abcdefghijklmnopqrstuvwxyz0123456789',
        user: {
          username: 'bob',
          groups: ['a'],
          extra: { 'authentication.kubernetes.io/credential-id': ['JTI=1b2c'], access_token: ['hunter2'] },
        },
        impersonatedUser: { username: 'eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.x' },
      }),
    );
    expect(out.userAgent).toBe(`curl/8 token=${hunter}`);
    expect(out.auditID).toBe(digest('ghp_abcdefghijklmnopqrstuvwxyz0123456789'));
    expect(out.user).toEqual({
      username: 'bob',
      groups: ['a'],
      extra: { 'authentication.kubernetes.io/credential-id': ['JTI=1b2c'], access_token: [hunter] },
    });
    expect(out.impersonatedUser?.username).toMatch(/^\[redacted:/);
  });

  test('a webhook patch in the annotations is one of the event object', () => {
    const patch = (value: string) =>
      JSON.stringify({
        configuration: 'c',
        webhook: 'w',
        patch: [{ op: 'add', path: '/data/a', value }],
        patchType: 'JSONPatch',
      });
    const key = 'patch.webhook.admission.k8s.io/round_0_index_0';
    expect(redact(auditEvent({ annotations: { [key]: patch('aGk=') } }, secretsRef)).annotations).toEqual({
      [key]: patch(digest('hi')),
    });
    expect(redact(auditEvent({ annotations: { [key]: patch('aGk=') } })).annotations).toEqual({
      [key]: patch('aGk='),
    });
  });

  test('fields that an event does not have', () => {
    const out = redact({
      ...auditEvent(),
      password: 'hunter2',
      objectRef: 'secrets',
      requestObject: { data: { a: 'aGk=' } },
    } as never);
    expect(out).toMatchObject({ password: hunter, requestObject: { data: { a: digest('hi') } } });
  });
});

test('a digest depends on its key, and a short key is refused', () => {
  const other = createKeyedDigest(Buffer.alloc(32));
  expect(other('hunter2')).toMatch(/^\[redacted:[0-9a-f]{16}\]$/);
  expect(other('hunter2')).not.toBe(hunter);
  expect(() => createKeyedDigest(Buffer.alloc(15))).toThrow(/at least 16 bytes, got 15/);
});

test('what was found harmless in one place is judged anew in another', () => {
  const word = 'correct-horse-battery';
  const encoded = base64(JSON.stringify({ kind: 'Secret', data: { a: 'aGlkZGVu' } }));
  for (let round = 0; round < 2; round++) {
    expect(redactBody({ spec: { note: word } })).toEqual({ spec: { note: word } });
    expect(redactBody({ spec: { password: word } })).toEqual({ spec: { password: digest(word) } });
    expect(redactBody({ data: { a: word } }, secretsRef)).toEqual({ data: { a: digest(word) } });
    expect(JSON.stringify(redactBody({ spec: { note: encoded } }))).not.toContain(encoded);
  }
});

test('managedFields that hold more than names of fields are read', () => {
  const fields = (leaf: Json) => ({
    metadata: { managedFields: [{ fieldsV1: { 'f:a': { 'f:b': {}, 'f:c': leaf } } }] },
  });
  expect(redactBody(fields({}))).toEqual(fields({}));
  expect(JSON.stringify(redactBody(fields(PEM)))).not.toContain('MIIBOgIBAAJBAKj34GkxFhD90vcN');
  expect(JSON.stringify(redactBody(fields({ x: [PEM] })))).not.toContain('MIIBOgIBAAJBAKj34GkxFhD90vcN');
  expect(redactBody({ data: { fieldsV1: { a: {} } } }, secretsRef)).toEqual({
    data: { fieldsV1: digest('{"a":{}}') },
  });
});
