import { describe, expect, it } from 'vitest';
import type { Json, JsonObject } from '../../../core/audit-event.js';
import { applyPatch, patchedPaths } from '../../../core/patch/apply-patch.js';
import { inferPatchType } from '../../../core/patch/infer-patch-type.js';
import type { PatchType } from '../../../core/vocabulary.js';

const WEB: JsonObject = {
  metadata: { name: 'web', labels: { app: 'web' }, finalizers: ['a/x'] },
  spec: {
    replicas: 2,
    template: {
      spec: {
        containers: [
          { name: 'web', image: 'nginx:1.25', env: [{ name: 'A', value: '1' }] },
          { name: 'log', image: 'fluent' },
        ],
      },
    },
  },
};
const containers = (object: JsonObject | undefined) =>
  ((object!.spec as JsonObject).template as { spec: { containers: JsonObject[] } }).spec.containers;

describe('applyPatch', () => {
  it.each<[string, PatchType, Json, (object: JsonObject | undefined) => unknown, unknown]>([
    [
      'a merged container keeps its other fields',
      'strategic',
      { spec: { template: { spec: { containers: [{ name: 'web', image: 'nginx:1.26' }] } } } },
      (o) => containers(o)[0],
      { name: 'web', image: 'nginx:1.26', env: [{ name: 'A', value: '1' }] },
    ],
    [
      'a new item is added',
      'strategic',
      { spec: { template: { spec: { containers: [{ name: 'new', image: 'x' }] } } } },
      (o) => containers(o).map((c) => c.name),
      ['web', 'log', 'new'],
    ],
    [
      'an item is deleted by directive',
      'strategic',
      { spec: { template: { spec: { containers: [{ name: 'log', $patch: 'delete' }] } } } },
      (o) => containers(o).map((c) => c.name),
      ['web'],
    ],
    [
      'items are put in the order named',
      'strategic',
      { spec: { template: { spec: { '$setElementOrder/containers': [{ name: 'log' }, { name: 'web' }] } } } },
      (o) => containers(o).map((c) => c.name),
      ['log', 'web'],
    ],
    [
      'a list of scalars merges where it is a set',
      'strategic',
      { metadata: { finalizers: ['b/y'] } },
      (o) => (o!.metadata as JsonObject).finalizers,
      ['a/x', 'b/y'],
    ],
    [
      'and is taken from',
      'strategic',
      { metadata: { '$deleteFromPrimitiveList/finalizers': ['a/x'] } },
      (o) => (o!.metadata as JsonObject).finalizers,
      [],
    ],
    [
      'a merge patch replaces lists',
      'merge',
      { spec: { template: { spec: { containers: [{ name: 'web' }] } } } },
      (o) => containers(o),
      [{ name: 'web' }],
    ],
    [
      'null removes',
      'merge',
      { metadata: { labels: { app: null } } },
      (o) => (o!.metadata as JsonObject).labels,
      {},
    ],
    [
      'JSON Patch: all of its operations',
      'json',
      [
        { op: 'test', path: '/spec/replicas', value: 2 },
        { op: 'replace', path: '/spec/replicas', value: 3 },
        { op: 'copy', from: '/metadata/labels/app', path: '/metadata/labels/tier' },
        { op: 'move', from: '/metadata/finalizers/0', path: '/metadata/finalizers/-' },
        { op: 'add', path: '/metadata/labels/a~1b', value: 'c' },
        { op: 'remove', path: '/metadata/labels/app' },
      ],
      (o) => [(o!.spec as JsonObject).replicas, o?.metadata],
      [3, { name: 'web', labels: { tier: 'web', 'a/b': 'c' }, finalizers: ['a/x'] }],
    ],
    [
      'a failed test applies nothing',
      'json',
      [
        { op: 'test', path: '/spec/replicas', value: 9 },
        { op: 'replace', path: '/spec/replicas', value: 3 },
      ],
      (o) => o,
      undefined,
    ],
    [
      'a path through __proto__ is refused',
      'json',
      [{ op: 'add', path: '/__proto__/x', value: 1 }],
      (o) => o,
      undefined,
    ],
    [
      'ambiguous, but both readings agree',
      'ambiguous',
      { spec: { replicas: 5 } },
      (o) => (o!.spec as JsonObject).replicas,
      5,
    ],
    [
      'ambiguous, and they do not',
      'ambiguous',
      { spec: { template: { spec: { containers: [{ name: 'web', image: 'x' }] } } } },
      (o) => o,
      undefined,
    ],
  ])('%s', (_name, type, body, pick, expected) => {
    const frozen = JSON.stringify(WEB);
    expect(pick(applyPatch(type, WEB, body)?.object)).toEqual(expected);
    expect(JSON.stringify(WEB)).toBe(frozen);
  });

  it('names the fields a patch is about', () => {
    expect(
      patchedPaths(
        'strategic',
        { spec: { replicas: 3, template: { spec: { containers: [{ name: 'web', image: 'x' }] } } } },
        WEB,
      ),
    ).toEqual(['spec.replicas', 'spec.template.spec.containers[web].image']);
    expect(
      patchedPaths(
        'json',
        [{ op: 'replace', path: '/spec/template/spec/containers/1/image', value: 'x' }],
        WEB,
      ),
    ).toEqual(['spec.template.spec.containers[log].image']);
  });
});

describe('inferPatchType', () => {
  const uri = '/apis/apps/v1/namespaces/shop/deployments/web';
  it.each<[string, Json, Parameters<typeof inferPatchType>[1], PatchType | undefined]>([
    ['an array', [{ op: 'remove', path: '/x' }], { requestURI: uri, resourceGroup: 'apps' }, 'json'],
    [
      'a directive',
      { spec: { '$setElementOrder/containers': [] } },
      { requestURI: uri, resourceGroup: 'apps' },
      'strategic',
    ],
    [
      'an applied manifest',
      { apiVersion: 'apps/v1', kind: 'Deployment' },
      {
        requestURI: `${uri}?fieldManager=flux`,
        resourceGroup: 'apps',
        managedFields: [{ manager: 'flux', operation: 'Apply' }],
      },
      'apply',
    ],
    [
      'a forced apply',
      { apiVersion: 'apps/v1', kind: 'Deployment' },
      { requestURI: `${uri}?fieldManager=flux&force=true`, resourceGroup: 'apps' },
      'apply',
    ],
    [
      'a custom resource',
      { spec: { a: 1 } },
      { requestURI: '/apis/argoproj.io/v1alpha1/x', resourceGroup: 'argoproj.io' },
      'merge',
    ],
    ['anything else', { spec: { replicas: 1 } }, { requestURI: uri, resourceGroup: 'apps' }, 'ambiguous'],
    ['no body', undefined as unknown as Json, { requestURI: uri }, undefined],
  ])('%s', (_name, body, hints, expected) => expect(inferPatchType(body, hints)).toBe(expected));
});
