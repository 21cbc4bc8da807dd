import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../../core/audit-event.js';
import type { Version } from '../../core/change.js';
import { nextState } from '../../core/next-state.js';
import { projectWrites } from '../../core/project.js';
import { certaintyOf, exactState } from '../../core/state.js';
import type { Write } from '../../core/write.js';

const KEY = { apiGroup: 'apps', resource: 'replicasets', namespace: 'shop', name: 'web-1' };
const OWNER = { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web', uid: 'u-web', controller: true };
const SEEN: JsonObject = {
  apiVersion: 'apps/v1',
  kind: 'ReplicaSet',
  metadata: { name: 'web-1', namespace: 'shop', uid: 'u-1', resourceVersion: '10', ownerReferences: [OWNER] },
  spec: { replicas: 2 },
};
const BEFORE: Version = {
  orderRV: 10n,
  at: 1,
  uid: 'u-1',
  generation: undefined,
  deleted: false,
  state: exactState(SEEN),
};

/** The garbage collector's patch that orphans an object: it asks to be answered the metadata alone. */
function orphaning(metadata: JsonObject, parts: Partial<Write> = {}): Write {
  return {
    changeID: '01a20dc7-40ce-852d-a998-36db9f65fd6a',
    at: 2,
    completedAt: 3,
    class: 'derived',
    outcome: 'succeeded',
    verb: 'patch',
    code: 200,
    level: 'RequestResponse',
    requestURI: '/apis/apps/v1/namespaces/shop/replicasets/web-1',
    user: { username: 'system:serviceaccount:kube-system:generic-garbage-collector' },
    impersonated: undefined,
    userAgent: 'kube-controller-manager/v1.32.0',
    key: KEY,
    apiVersion: 'v1',
    subresource: undefined,
    uid: 'u-1',
    request: { metadata: { ownerReferences: [{ $patch: 'delete', uid: 'u-web' }], uid: 'u-1' } },
    response: {
      apiVersion: 'meta.k8s.io/v1',
      kind: 'PartialObjectMetadata',
      metadata: { name: 'web-1', namespace: 'shop', uid: 'u-1', resourceVersion: '11', ...metadata },
    },
    truncated: false,
    itemOfCollection: false,
    ...parts,
  };
}

describe('an answer that holds the metadata alone', () => {
  it('is exact about the metadata, and leaves the rest as it was last seen', () => {
    const { state, deleted } = nextState(orphaning({}), BEFORE);
    expect(deleted).toBe(false);
    expect(state.object).toMatchObject({ kind: 'ReplicaSet', spec: { replicas: 2 } });
    expect(certaintyOf(state, 'metadata.resourceVersion')).toEqual({ certainty: 'exact' });
    expect(certaintyOf(state, 'spec.replicas')).toEqual({ certainty: 'inferred', doubt: 'older_version' });
  });

  it('is a change of what it changed, and of nothing else', () => {
    const [projection] = projectWrites(BEFORE, [orphaning({})]);
    const change = projection!.noOp ? undefined : projection!.change;
    expect(change?.diff?.map(({ op, path }) => `${op} ${path}`)).toEqual(['remove metadata.ownerReferences']);
  });

  it('says nothing of the rest where nothing was seen before', () => {
    const { state } = nextState(orphaning({}), undefined);
    expect(state.certainty).toBe('unknown');
    expect(certaintyOf(state, 'metadata.name')).toEqual({ certainty: 'exact' });
    expect(certaintyOf(state, 'spec')).toEqual({ certainty: 'unknown', doubt: 'not_recorded' });
  });

  it('still tells that the last finalizer is gone, and the object with it', () => {
    const { state, deleted } = nextState(orphaning({ deletionTimestamp: '2026-03-02T09:00:00Z' }), BEFORE);
    expect(deleted).toBe(true);
    expect(state.object?.spec).toEqual({ replicas: 2 });
  });

  it('tells of a deletion that is held up', () => {
    const held = { deletionTimestamp: '2026-03-02T09:00:00Z', finalizers: ['example.com/hold'] };
    const write = orphaning(held, { verb: 'delete', request: undefined });
    expect(nextState(write, BEFORE)).toMatchObject({ deleted: false, pending: true });
  });
});
