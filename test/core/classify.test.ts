import { describe, expect, it } from 'vitest';
import type { AuditEvent } from '../../core/audit-event.js';
import { classifyEvent } from '../../core/classify.js';

function event(parts: Partial<AuditEvent> & { code?: number }): AuditEvent {
  const { code = 200, ...rest } = parts;
  return {
    apiVersion: 'audit.k8s.io/v1',
    level: 'RequestResponse',
    auditID: 'a',
    stage: 'ResponseComplete',
    requestURI: '/apis/apps/v1/namespaces/shop/deployments/web',
    verb: 'patch',
    user: { username: 'alice@example.com' },
    objectRef: {
      apiGroup: 'apps',
      apiVersion: 'v1',
      resource: 'deployments',
      namespace: 'shop',
      name: 'web',
    },
    responseStatus: { code },
    requestReceivedTimestamp: 1,
    stageTimestamp: 2,
    ...rest,
  };
}

const POD = { apiVersion: 'v1', resource: 'pods', namespace: 'shop', name: 'web-1' };
const SECRET = { apiVersion: 'v1', resource: 'secrets', namespace: 'shop', name: 'db' };
const CONTROLLER = { username: 'system:serviceaccount:kube-system:replicaset-controller' };

describe('classifyEvent', () => {
  it.each<[string, Parameters<typeof event>[0], string]>([
    ['a write', {}, 'change'],
    ['a write by an unknown verb', { verb: 'bind' }, 'change'],
    ['a controller of the control plane', { user: CONTROLLER }, 'derived'],
    ['a person in a controller\u2019s name', { impersonatedUser: CONTROLLER }, 'change'],
    ['status by a controller', { user: CONTROLLER, objectRef: { ...POD, subresource: 'status' } }, 'status'],
    ['status by a person', { objectRef: { ...POD, subresource: 'status' } }, 'change'],
    ['the stage before the outcome', { stage: 'RequestReceived', code: 0 }, 'stage'],
    ['a refusal', { code: 403 }, 'rejected'],
    ['a conflict', { code: 409 }, 'rejected'],
    ['a failed login, which never completes', { stage: 'ResponseStarted', code: 401 }, 'failed_auth'],
    ['a deadline that never completes', { stage: 'ResponseStarted', code: 504 }, 'rejected'],
    ['a panic', { stage: 'Panic', code: 500 }, 'change'],
    ['dry run in the query', { requestURI: '/x?fieldManager=a&dryRun=All' }, 'dry_run'],
    ['dryRun elsewhere in the path', { requestURI: '/apis/x/dryRun=All' }, 'change'],
    [
      'dry run in DeleteOptions',
      { verb: 'delete', requestObject: { kind: 'DeleteOptions', dryRun: ['All'] } },
      'dry_run',
    ],
    ['dryRun as a field of the object', { requestObject: { spec: {}, dryRun: ['All'] } }, 'change'],
    [
      'dry run in an eviction',
      {
        verb: 'create',
        objectRef: { ...POD, subresource: 'eviction' },
        requestObject: { kind: 'Eviction', deleteOptions: { dryRun: ['All'] } },
      },
      'dry_run',
    ],
    [
      'exec as get, as since 1.30',
      { verb: 'get', code: 101, objectRef: { ...POD, subresource: 'exec' } },
      'access',
    ],
    ['exec as create', { verb: 'create', code: 101, objectRef: { ...POD, subresource: 'exec' } }, 'access'],
    [
      'exec that has only started',
      { stage: 'ResponseStarted', verb: 'get', code: 101, objectRef: { ...POD, subresource: 'exec' } },
      'access',
    ],
    ['exec refused', { verb: 'get', code: 403, objectRef: { ...POD, subresource: 'exec' } }, 'rejected'],
    ['logs', { verb: 'get', objectRef: { ...POD, subresource: 'log' } }, 'read'],
    ['a Secret read', { verb: 'get', objectRef: SECRET }, 'secret_read'],
    [
      'a Secret watch, as it starts',
      { stage: 'ResponseStarted', verb: 'watch', objectRef: SECRET },
      'secret_read',
    ],
    ['a Secret read refused', { verb: 'list', code: 403, objectRef: SECRET }, 'read'],
    [
      'a review',
      {
        verb: 'create',
        code: 201,
        objectRef: { apiGroup: 'authorization.k8s.io', resource: 'selfsubjectaccessreviews' },
      },
      'review',
    ],
    [
      'a lease',
      {
        verb: 'update',
        objectRef: { apiGroup: 'coordination.k8s.io', resource: 'leases', namespace: 'x', name: 'y' },
      },
      'lease',
    ],
    [
      'a leader record on a ConfigMap',
      {
        verb: 'update',
        objectRef: { resource: 'configmaps' },
        requestObject: { metadata: { annotations: { 'control-plane.alpha.kubernetes.io/leader': '{}' } } },
      },
      'lease',
    ],
    [
      'an Event object',
      { verb: 'create', objectRef: { resource: 'events', namespace: 'shop' } },
      'kube_event',
    ],
  ])('%s', (_name, parts, expected) => expect(classifyEvent(event(parts))).toBe(expected));

  it('does not mistake a path without an object for a write', () => {
    const { objectRef: _none, ...rest } = event({ verb: 'get', requestURI: '/healthz' });
    expect(classifyEvent(rest as AuditEvent)).toBe('read');
  });
});
