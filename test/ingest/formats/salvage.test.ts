import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { leadingFields } from '../../../core/leading-fields.js';
import { formatMicros } from '../../../core/timestamp.js';
import { accept } from './envelopes.js';

const SECRET = 'synthetic-leak-canary';
const TIME = '2026-03-02T09:00:01.2541234Z';

const event = (order: 'go' | 'sorted', stage = 'ResponseComplete') => {
  const whole = {
    kind: 'Event',
    apiVersion: 'audit.k8s.io/v1',
    level: 'RequestResponse',
    auditID: '33333333-0000-4000-8000-000000000001',
    stage,
    requestURI: '/api/v1/namespaces/shop/pods/web-1/exec?command=sh',
    verb: 'create',
    user: {
      username: 'al"ice\\@exämple.com 😀',
      uid: 'u-1',
      groups: ['developers', 'system:authenticated'],
      extra: { scopes: ['a', 'b'] },
    },
    impersonatedUser: { username: 'bob@example.com', groups: ['support'] },
    sourceIPs: ['192.0.2.10', '198.51.100.7'],
    userAgent: 'kubectl/v1.34.1',
    objectRef: { resource: 'pods', namespace: 'shop', name: 'web-1', apiVersion: 'v1', subresource: 'exec' },
    ...(stage !== 'RequestReceived' && { responseStatus: { metadata: {}, status: 'Failure', code: 403 } }),
    requestObject: {
      kind: 'Secret',
      data: { password: Buffer.from(SECRET).toString('base64') },
      stringData: { token: SECRET, n: [1, 2, { a: SECRET }] },
    },
    responseObject: { kind: 'Secret', metadata: { name: 'x' }, stringData: { password: SECRET } },
    requestReceivedTimestamp: '2026-03-02T09:00:01.250000Z',
    stageTimestamp: '2026-03-02T09:00:01.254000Z',
    annotations: { 'authorization.k8s.io/decision': 'forbid', 'authorization.k8s.io/reason': '' },
  };
  return order === 'go'
    ? whole
    : Object.fromEntries(Object.entries(whole).sort(([a], [b]) => (a < b ? -1 : 1)));
};

const azure = (log: string) =>
  Buffer.from(
    JSON.stringify({
      time: TIME,
      category: 'kube-audit',
      properties: { log, pod: 'kube-apiserver-1' },
      resourceId: '/X',
    }),
  );

describe.each([
  ['as Go writes it', JSON.stringify(event('go')), 1, 400],
  ['received only', JSON.stringify(event('go', 'RequestReceived')), 2, 200],
  ['with sorted keys', JSON.stringify(event('sorted')), 3, 0],
  ['spread out', JSON.stringify(event('go'), null, 1), 3, 150],
])('a record %s that is cut anywhere', (_name, text, step, least) => {
  const original = accept(azure(text), 'aks').accepted[0]!.event as unknown as Record<string, unknown>;

  it('gives an event of original fields only, or a rejection, and no secret', () => {
    let salvaged = 0;
    for (let length = 1; length < text.length; length += step) {
      const cut = text.slice(0, length);
      const taken = accept(azure(cut), 'aks');
      const shown = JSON.stringify(taken);
      expect(shown).not.toContain(SECRET.slice(0, 12));
      expect(shown).not.toContain(Buffer.from(SECRET).toString('base64').slice(0, 12));
      if (taken.accepted.length === 0) {
        // No more than the closing bracket is missing of some cuts, but something always is.
        expect(taken.rejections.map(({ reason }) => reason)).toEqual([
          /^\s*\{/.test(cut) ? 'truncated_record' : 'not_an_audit_event',
        ]);
        expect(taken.salvaged).toBe(0);
        continue;
      }
      salvaged++;
      expect(taken).toMatchObject({ salvaged: 1, rejections: [] });
      const found = taken.accepted[0]!.event as unknown as Record<string, unknown>;
      const annotations = found.annotations as Record<string, string>;
      expect(annotations['audit.k8s.io/truncated']).toBe('true');
      expect(annotations['whochanged/salvaged']).toMatch(/^cut (?:in [a-zA-Z]+|between fields)$/);
      const inferred = annotations['whochanged/inferred']?.split(',') ?? [];
      for (const [name, value] of Object.entries(found)) {
        if (name === 'annotations') continue;
        if (inferred.includes(name))
          expect(formatMicros(value as number)).toBe('2026-03-02T09:00:01.254123Z');
        else expectPartOf(value, original[name]);
      }
      for (const [name, value] of Object.entries(annotations)) {
        if (name.startsWith('whochanged/') || name === 'audit.k8s.io/truncated') continue;
        expect(value).toBe((original.annotations as Record<string, string>)[name]);
      }
      // Whom someone acted as is never lost, and a refused request never passes for one that wrote.
      expect(found.impersonatedUser).toEqual(original.impersonatedUser);
      expect(found.responseStatus).toEqual(original.responseStatus);
    }
    // Sorted keys end in the verb: what is cut before it can't be told.
    expect(salvaged).toBeGreaterThanOrEqual(least);
  });
});

/** Objects may lack members; everything else is the same. */
function expectPartOf(value: unknown, whole: unknown): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    expect(value).toEqual(whole);
    return;
  }
  expect(whole).toBeTypeOf('object');
  for (const [name, member] of Object.entries(value))
    expectPartOf(member, (whole as Record<string, unknown>)[name]);
}

it('reads of any cut JSON only what the whole says', () => {
  const key = fc.string({
    unit: fc.constantFrom('a', '"', '\\', '{', '}', '[', ',', ':', 'é', '😀', '\n'),
    maxLength: 4,
  });
  const leaf = fc.oneof(
    key,
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.boolean(),
    fc.constant(null),
  );
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      leaf,
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(key, tie('value'), { maxKeys: 4 }),
    ),
  }));
  fc.assert(
    fc.property(fc.dictionary(key, value), fc.nat(), fc.boolean(), (object, at, pretty) => {
      const text = JSON.stringify(object, null, pretty ? 2 : undefined);
      const { fields } = leadingFields(text.slice(0, at % text.length));
      expectPartOf(fields, JSON.parse(text));
      expect(leadingFields(text)).toEqual({ fields: JSON.parse(text), cut: undefined });
    }),
    { numRuns: 300 },
  );
});
