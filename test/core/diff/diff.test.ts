import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Json, JsonObject } from '../../../core/audit-event.js';
import { applyDiff, valueAt } from '../../../core/diff/apply-diff.js';
import { diffObjects } from '../../../core/diff/diff.js';
import { fieldTerms, formatFieldPath, parseFieldPath } from '../../../core/diff/field-path.js';

const key = fc.oneof(
  fc.constantFrom(
    'name',
    'image',
    'env',
    'containers',
    'ports',
    'metadata',
    'spec',
    'finalizers',
    'rules',
    'a.b/c',
    '__proto__',
    'type',
    'key',
    '0',
    '[x]',
    '"q"',
    '',
  ),
  fc.string({ maxLength: 4 }),
);
const json: fc.Arbitrary<Json> = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constant(null),
    fc.boolean(),
    fc.integer(),
    fc.string({ maxLength: 4 }),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(key, tie('value'), { maxKeys: 4 }).map((map) => JSON.parse(JSON.stringify(map)) as Json),
  ),
})).value;
const object = fc
  .dictionary(key, json, { maxKeys: 5 })
  .map((map) => JSON.parse(JSON.stringify(map)) as JsonObject);

const container = fc.record(
  {
    name: fc.constantFrom('web', 'sidecar', 'init', '0', 'a/b'),
    image: fc.constantFrom('nginx:1.25', 'nginx:1.26', 'envoy'),
    env: fc.array(fc.record({ name: fc.constantFrom('A', 'B', 'C'), value: fc.constantFrom('1', '2', '') }), {
      maxLength: 4,
    }),
    ports: fc.array(
      fc.record(
        { containerPort: fc.constantFrom(80, 443), protocol: fc.constantFrom('TCP', 'UDP') },
        { requiredKeys: ['containerPort'] },
      ),
      { maxLength: 3 },
    ),
    args: fc.array(fc.constantFrom('-v', '-x', ''), { maxLength: 3 }),
  },
  { requiredKeys: ['name', 'image'] },
);
const deployment = fc
  .record({
    metadata: fc.record(
      {
        name: fc.constant('web'),
        finalizers: fc.array(fc.constantFrom('a/x', 'b/y'), { maxLength: 3 }),
        annotations: fc.dictionary(fc.constantFrom('a.b/c', 'd'), fc.constantFrom('1', '2')),
      },
      { requiredKeys: ['name'] },
    ),
    spec: fc.record({
      replicas: fc.nat(3),
      template: fc.record({ spec: fc.record({ containers: fc.array(container, { maxLength: 4 }) }) }),
    }),
  })
  .map((value) => JSON.parse(JSON.stringify(value)) as JsonObject);

function check(before: JsonObject, after: JsonObject): void {
  const frozen = JSON.stringify([before, after]);
  const diff = diffObjects(before, after);
  expect(applyDiff(before, diff)).toEqual(after);
  expect(JSON.stringify([before, after])).toBe(frozen);
}

describe('diffObjects', () => {
  it('applied to before gives after, for any objects', () => {
    fc.assert(fc.property(object, object, check), { numRuns: 1000 });
  });

  it('applied to before gives after, for Deployments with reordered, doubled and missing items', () => {
    fc.assert(fc.property(deployment, deployment, check), { numRuns: 1000 });
  });

  it('says the same whatever the order of keys', () => {
    fc.assert(
      fc.property(object, object, (before, after) => {
        const turned = (value: JsonObject) =>
          Object.fromEntries(Object.entries(value).reverse()) as JsonObject;
        expect(diffObjects(turned(before), turned(after))).toEqual(diffObjects(before, after));
      }),
    );
  });

  it('finds nothing between equal objects, whatever their key order', () => {
    fc.assert(
      fc.property(object, (value) => {
        const turned = Object.fromEntries(Object.entries(value).reverse());
        expect(diffObjects(value, turned)).toEqual([]);
      }),
    );
  });

  it('names list items by their merge keys', () => {
    const before = {
      spec: {
        ports: [{ port: 80, name: 'http' }],
        template: {
          spec: {
            containers: [
              { name: 'web', image: 'a', env: [{ name: 'X', value: '1' }], ports: [{ containerPort: 80 }] },
              { name: 'old' },
            ],
          },
        },
      },
      metadata: { finalizers: ['a/x'], annotations: { 'a.b/c': '1' } },
    };
    const after = {
      spec: {
        ports: [{ port: 80, name: 'web' }],
        template: {
          spec: {
            containers: [
              { name: 'new', image: 'c' },
              {
                name: 'web',
                image: 'b',
                env: [{ name: 'X', value: '2' }],
                ports: [{ containerPort: 80, protocol: 'TCP' }],
              },
            ],
          },
        },
      },
      metadata: { finalizers: [], annotations: { 'a.b/c': '2' } },
    };
    expect(diffObjects(before, after).map(({ path, op }) => `${op} ${path}`)).toEqual([
      'replace metadata.annotations["a.b/c"]',
      'remove metadata.finalizers[a/x]',
      'replace spec.ports[80/TCP].name',
      'replace spec.template.spec.containers[web].env[X].value',
      'replace spec.template.spec.containers[web].image',
      'add spec.template.spec.containers[web].ports[80/TCP].protocol',
      'remove spec.template.spec.containers[old]',
      'add spec.template.spec.containers[new]',
      'reorder spec.template.spec.containers',
    ]);
  });
});

describe('field paths', () => {
  const segment = fc.oneof(
    fc.string().map((text) => ({ key: text })),
    fc.string({ minLength: 1 }).map((item) => ({ item })),
    fc.nat(1000).map((index) => ({ index })),
  );

  it('parse what they format', () => {
    fc.assert(
      fc.property(fc.array(segment, { minLength: 1, maxLength: 6 }), (segments) => {
        expect(parseFieldPath(formatFieldPath(segments))).toEqual(segments);
      }),
    );
  });

  it.each(['spec.', 'spec[', 'spec[]', 'a..b', 'a["x', '.a', 'a]b'])('say where %s is wrong', (path) => {
    expect(() => parseFieldPath(path)).toThrow(/at character \d+/);
  });

  it('are searched by themselves, their ancestors, and with any item', () => {
    expect(fieldTerms('spec.containers[web].image')).toEqual([
      'spec',
      'spec.containers',
      'spec.containers[web]',
      'spec.containers[*]',
      'spec.containers[web].image',
      'spec.containers[*].image',
    ]);
  });

  it('find the value they name', () => {
    const value = {
      spec: { containers: [{ name: 'a' }, { name: 'web', args: ['x', 'y'] }] },
      metadata: { labels: { 'a.b/c': 'd' } },
    };
    expect(valueAt(value, 'spec.containers[web].args[1]')).toBe('y');
    expect(valueAt(value, 'metadata.labels["a.b/c"]')).toBe('d');
    expect(valueAt(value, 'spec.containers[db]')).toBeUndefined();
  });
});
