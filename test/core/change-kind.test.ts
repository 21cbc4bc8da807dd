import { describe, expect, it } from 'vitest';
import { classifyEvent } from '../../core/classify.js';
import { decodeEvent } from '../../core/decode.js';
import { projectWrites } from '../../core/project.js';
import type { ChangeClass } from '../../core/vocabulary.js';
import { writeOf } from '../../core/write.js';
import { Cluster } from '../harness/events.js';

type Loose = Record<string, unknown>;

const AGGREGATE = 'rbac.authorization.k8s.io/aggregate-to-edit';

/** What the last of an object's events did, all of which came in order. */
function changeOf(events: Loose[]) {
  const writes = events.map((raw, n) => {
    const event = decodeEvent(raw);
    return writeOf(event, String(n), classifyEvent(event) as ChangeClass);
  });
  const last = projectWrites(undefined, writes).at(-1)!;
  if (last.noOp) throw new Error('it wrote nothing');
  return last.change;
}

/** An object as it was made, if that was seen, and as somebody's write left it. */
function updated(
  ref: { group?: string; resource: string; namespace: string; name: string },
  before: Loose | undefined,
  after: Loose,
  parts: Loose = {},
) {
  const cluster = new Cluster();
  const made = before && cluster.write('create', ref, before);
  return changeOf([...(made ? [made] : []), cluster.write('patch', ref, after, parts)]);
}

const POD = { resource: 'pods', namespace: 'shop', name: 'box' };
const NODE = { resource: 'nodes', namespace: '', name: 'worker-1' };
const ROLE = { group: 'rbac.authorization.k8s.io', resource: 'clusterroles', namespace: '', name: 'extra' };
const role = (labels?: Loose): Loose => ({
  kind: 'ClusterRole',
  metadata: { ...(labels && { labels }) },
  rules: [],
});

describe('a change is of the kind', () => {
  it('debug, with the container that was put in, when ephemeral containers are', () => {
    const box = { kind: 'Pod', spec: { containers: [{ name: 'box', image: 'box:1' }] } };
    const debugger_ = { name: 'debugger-x', image: 'busybox', targetContainerName: 'box', stdin: true };
    const change = updated(
      POD,
      box,
      { ...box, spec: { ...box.spec, ephemeralContainers: [debugger_] } },
      {
        requestURI: '/api/v1/namespaces/shop/pods/box/ephemeralcontainers',
        objectRef: { ...POD, apiVersion: 'v1', subresource: 'ephemeralcontainers' },
        requestObject: { spec: { ephemeralContainers: [debugger_] } },
      },
    );
    expect([change.class, change.kind]).toEqual(['access', 'debug']);
    expect(change.diff).toEqual([{ path: 'spec.ephemeralContainers', op: 'add', after: [debugger_] }]);
    expect(change.summary).toBe('debug into box: busybox as debugger-x');
  });

  it.each([
    ['cordon', { spec: { unschedulable: true } }, { spec: { unschedulable: true } }],
    ['uncordon', { spec: {} }, { spec: { unschedulable: null } }],
  ])('%s also where the node was never seen before', (kind, after, patch) => {
    const change = updated(NODE, undefined, { kind: 'Node', ...after }, { requestObject: patch });
    expect([change.kind, change.flags]).toEqual([kind, ['before_unknown']]);
  });

  it.each([
    ['rbac_grant', undefined, { [AGGREGATE]: 'true' }],
    ['rbac_grant', { team: 'a' }, { team: 'a', [AGGREGATE]: 'true' }],
    ['rbac_revoke', { team: 'a', [AGGREGATE]: 'true' }, { team: 'a' }],
    ['update', { team: 'a' }, { team: 'b' }],
  ])('%s when labels %j of a ClusterRole become %j', (kind, before, after) => {
    expect(updated(ROLE, role(before), role(after)).kind).toBe(kind);
  });
});

it('a field is found in what came or went as a whole', () => {
  const template = (...containers: Loose[]) => ({
    kind: 'Deployment',
    spec: { template: { spec: { containers } } },
  });
  const web = { name: 'web', image: 'web:1' };
  const sidecar = { name: 'metrics', image: 'metrics:1', env: [{ name: 'LEVEL', value: 'info' }] };
  const ref = { group: 'apps', resource: 'deployments', namespace: 'shop', name: 'web' };
  for (const [before, after] of [
    [template(web), template(web, sidecar)],
    [template(web, sidecar), template(web)],
  ] as const) {
    const { diff, fieldTerms } = updated(ref, before, after);
    expect(diff!.map(({ path }) => path)).toEqual(['spec.template.spec.containers[metrics]']);
    expect(fieldTerms).toEqual(
      expect.arrayContaining([
        'spec.template.spec.containers[metrics]',
        'spec.template.spec.containers[metrics].image',
        'spec.template.spec.containers[*].image',
        'spec.template.spec.containers[metrics].env[LEVEL].value',
      ]),
    );
    expect(fieldTerms.filter((term) => term.includes('[web]'))).toEqual([]);
  }
});
