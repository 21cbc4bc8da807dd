import { describe, expect, it } from 'vitest';
import { DecodeError, decodeEvent } from '../../core/decode.js';

const EVENT = {
  kind: 'Event',
  apiVersion: 'audit.k8s.io/v1',
  level: 'Metadata',
  auditID: 'b1c0d2e4-0000-4000-8000-000000000001',
  stage: 'ResponseComplete',
  requestURI: '/api/v1/namespaces/shop/pods',
  verb: 'list',
  user: { username: 'alice@example.com', groups: ['developers'] },
  sourceIPs: ['10.0.0.1'],
  objectRef: { resource: 'pods', namespace: 'shop', apiVersion: 'v1' },
  responseStatus: { metadata: {}, code: 200 },
  requestReceivedTimestamp: '2024-05-01T10:00:00.000001Z',
  stageTimestamp: '2024-05-01T10:00:00.000002Z',
};

function reasonOf(value: unknown): string {
  try {
    decodeEvent(value);
    return 'accepted';
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    return `${error.reason}: ${error.message}`;
  }
}

describe('decodeEvent', () => {
  it('survives what real logs hold', () => {
    const { kind: _kind, apiVersion: _version, ...bare } = EVENT;
    const event = decodeEvent(
      {
        ...bare,
        impersonatedUser: null,
        user: {},
        userAgent: '',
        objectRef: { resource: 'pods', namespace: '', name: '', subresource: '' },
        requestObject: 'skipped-too-big-size-object',
        responseStatus: {},
        verb: 'PROPFIND',
      },
      'audit.k8s.io/v1beta1',
    );
    expect(event).toMatchObject({
      apiVersion: 'audit.k8s.io/v1beta1',
      verb: 'propfind',
      user: { username: '' },
      objectRef: { resource: 'pods' },
      requestObject: 'skipped-too-big-size-object',
    });
    expect(event).not.toHaveProperty('impersonatedUser');
    expect(event).not.toHaveProperty('responseStatus');
    expect(event.objectRef).not.toHaveProperty('namespace');
  });

  it('reads v1alpha1: one time of whole seconds, the group inside apiVersion', () => {
    const { requestReceivedTimestamp: _r, stageTimestamp: _s, ...old } = EVENT;
    const event = decodeEvent({
      ...old,
      apiVersion: 'audit.k8s.io/v1alpha1',
      timestamp: '2017-09-11T19:55:05Z',
      objectRef: { resource: 'deployments', namespace: 'shop', name: 'web', apiVersion: 'apps/v1' },
    });
    expect(event.requestReceivedTimestamp).toBe(1505159705000000);
    expect(event.stageTimestamp).toBe(1505159705000000);
    expect(event.objectRef).toEqual({
      resource: 'deployments',
      namespace: 'shop',
      name: 'web',
      apiGroup: 'apps',
      apiVersion: 'v1',
    });
  });

  it.each([
    [[], 'not_an_event: expected a JSON object, got an array'],
    [{ ...EVENT, kind: 'Pod' }, 'not_an_event: kind: expected "Event", got a different string'],
    [{ ...EVENT, apiVersion: 'audit.k8s.io/v2' }, 'unsupported_version: apiVersion: expected one of'],
    [
      { ...EVENT, level: 'default' },
      'invalid_field: level: expected one of None, Metadata, Request, RequestResponse',
    ],
    [{ ...EVENT, auditID: '' }, 'missing_field: auditID: expected a non-empty string, got an empty one'],
    [{ ...EVENT, stage: undefined }, 'invalid_field: stage'],
    [{ ...EVENT, user: 'alice' }, 'invalid_field: user: expected an object, got a different string'],
    [{ ...EVENT, sourceIPs: [1] }, 'invalid_field: sourceIPs: expected strings, got a number'],
    [{ ...EVENT, requestReceivedTimestamp: 'soon' }, 'invalid_time: requestReceivedTimestamp'],
  ])('says what is wrong and where: %#', (value, expected) => expect(reasonOf(value)).toContain(expected));

  it('never quotes a value in its message', () => {
    expect(reasonOf({ ...EVENT, level: 'hunter2-secret', kind: undefined })).not.toContain('hunter2');
  });
});
