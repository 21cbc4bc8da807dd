import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { redactText } from '../../../core/redact/redact-text.js';
import { base64, digest, leaks, secrets } from './seeded.js';

const redact = (text: string): string => redactText(text, digest);

/** As the apiserver sends it, with a secret in every kind of place. */
function eventText(secret: string): string {
  const applied = JSON.stringify({
    kind: 'Secret',
    stringData: { name: secret, verb: secret, kind: secret },
  });
  return JSON.stringify({
    kind: 'Event',
    apiVersion: 'audit.k8s.io/v1',
    level: 'RequestResponse',
    auditID: '2e7a6b1c-6f0e-4f35-9d3c-0d2b1a9f8e77',
    stage: 'ResponseComplete',
    requestURI: `/api/v1/namespaces/prod/secrets?token=${encodeURIComponent(secret)}`,
    verb: 'create',
    user: { username: 'alice', groups: ['a'], extra: { token: [secret] } },
    userAgent: `x ${secret}`,
    objectRef: { resource: 'secrets', namespace: 'prod', name: 'db', apiVersion: 'v1' },
    responseStatus: { code: 201 },
    requestObject: {
      kind: 'Secret',
      apiVersion: 'v1',
      metadata: { name: 'db', annotations: { 'kubectl.kubernetes.io/last-applied-configuration': applied } },
      data: { name: base64(secret), namespace: base64(secret), code: base64(secret) },
      stringData: { verb: secret, [secret]: 'a key may be one too', objectRef: { name: secret } },
    },
    responseObject: [{ op: 'add', path: '/data/a', value: secret }, secret, secret],
    requestReceivedTimestamp: '2024-05-06T07:08:09.123456Z',
    stageTimestamp: '2024-05-06T07:08:09.223456Z',
    annotations: {
      'authorization.k8s.io/decision': 'allow',
      'patch.webhook': JSON.stringify({ patch: [{ path: '/data', value: applied }] }),
    },
  });
}

describe('an event that is cut off', () => {
  test('keeps what tells which request it was', () => {
    const text = eventText('s3cr3t-value').slice(0, 900);
    const out = redact(text);
    for (const kept of [
      '"kind":"Event"',
      '"apiVersion":"audit.k8s.io/v1"',
      '"level":"RequestResponse"',
      '"auditID":"2e7a6b1c-6f0e-4f35-9d3c-0d2b1a9f8e77"',
      '"stage":"ResponseComplete"',
      '"verb":"create"',
      '"objectRef":{"resource":"secrets","namespace":"prod","name":"db","apiVersion":"v1"}',
      '"responseStatus":{"code":201}',
      '"requestObject":{"kind":"Secret","apiVersion":"v1"',
    ]) {
      expect(out).toContain(kept);
    }
    expect(out).toContain(`"username":"${digest('alice')}"`);
    expect(leaks('s3cr3t-value', out)).toEqual([]);
  });

  test('at any byte, from either side, in its middle, or spliced: no secret survives', () => {
    for (const alphabet of ['token', 'any'] as const) {
      fc.assert(
        fc.property(secrets(alphabet), fc.nat(), fc.nat(), (secret, one, two) => {
          const text = eventText(secret);
          const bytes = Buffer.from(text);
          const [a, b] = [one % bytes.length, two % bytes.length].sort((x, y) => x - y) as [number, number];
          const pieces = [
            bytes.subarray(0, a),
            bytes.subarray(a),
            bytes.subarray(a, b),
            Buffer.concat([bytes.subarray(0, a), bytes.subarray(b)]),
          ];
          const prefix = redact(pieces[0]?.toString('utf8') ?? '');
          expect(redact(prefix)).toBe(prefix);
          for (const piece of pieces) {
            const out = redact(piece.toString('utf8'));
            expect(leaks(secret, out)).toEqual([]);
          }
        }),
        { numRuns: 400 },
      );
    }
  });

  test('every prefix and suffix of one', () => {
    const secret = 'Zq7xW2vB9nM4kL1p';
    const text = eventText(secret);
    for (let cut = 0; cut <= text.length; cut++) {
      expect(leaks(secret, redact(text.slice(0, cut)))).toEqual([]);
      expect(leaks(secret, redact(text.slice(cut)))).toEqual([]);
    }
  });
});

describe('other text', () => {
  test.each([
    ['', ''],
    ['{"a": 1, "b": [true, null]}', `{"${digest('a')}": "${digest('1')}", "${digest('b')}": [true, null]}`],
    ['hello wide world', `"${digest('hello wide world')}"`],
    ['{"verb":"hunter"}', `{"verb":"${digest('hunter')}"}`],
    ['{"level":"Metadata","verb":"get"}', '{"level":"Metadata","verb":"get"}'],
    ['{"items":[{"level":"Metadata","verb":"get"}', '{"items":[{"level":"Metadata","verb":"get"}'],
    [
      '"data":{"level":"Metadata","verb":"get"}',
      `"data":{"level":"${digest('Metadata')}","verb":"${digest('get')}"}`,
    ],
    ['{"level":"Metadata","auditID":"hunter2"}', `{"level":"Metadata","auditID":"${digest('hunter2')}"}`],
    [
      '{"level":"Metadata","stringData":{"verb":"get"}}',
      `{"level":"Metadata","stringData":{"verb":"${digest('get')}"}}`,
    ],
  ])('%s', (text, expected) => {
    expect(redact(text)).toBe(expected);
  });

  test('is bounded in size and time', () => {
    for (const piece of ['"', '\\', '\\"', 'a ', '{', '{"a":', ' ', '"a"', '[redacted:']) {
      const start = performance.now();
      const out = redact(piece.repeat(2_000_000 / piece.length));
      expect(performance.now() - start, piece).toBeLessThan(8000);
      expect(out.length).toBeLessThan(16 * 1024 * 1024);
    }
  });
});
