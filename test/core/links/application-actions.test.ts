import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../../../core/audit-event.js';
import { actionsOf, actionsOfFlux } from '../../../core/links/application-actions.js';
import type { RecordWrite } from '../../../core/links/sync.js';

const write = (before: JsonObject, after: JsonObject, created = false): RecordWrite => ({
  changeID: '01a20dc7-40ce-852d-a998-36db9f65fd6a',
  at: 0,
  objectID: 'o',
  key: { apiGroup: 'argoproj.io', resource: 'applications', namespace: 'argocd', name: 'web' },
  username: 'alice',
  before,
  after,
  created,
});

describe('what was asked of Argo CD', () => {
  const history = [
    { id: 0, revisions: ['a', 'b'] },
    { id: 1, revisions: ['a', 'c'] },
  ];
  const operation = (revisions: string[]) => ({
    initiatedBy: { username: 'carol' },
    sync: { revisions },
  });

  it('is a rollback where several sources go back to what they were', () => {
    const before = { status: { history } };
    expect(actionsOf(write(before, { ...before, operation: operation(['a', 'b']) }))).toEqual([
      { action: 'rollback', automated: false, username: 'carol', revision: 'a, b' },
    ]);
    expect(actionsOf(write(before, { ...before, operation: operation(['a', 'c']) }))).toEqual([
      { action: 'sync', automated: false, username: 'carol', revision: 'a, c' },
    ]);
  });

  it('is to stop syncing by itself, whichever way that is said', () => {
    const automated = { spec: { syncPolicy: { automated: { selfHeal: true } } } };
    const off = { spec: { syncPolicy: { automated: { selfHeal: true, enabled: false } } } };
    for (const after of [{ spec: { syncPolicy: {} } }, off])
      expect(actionsOf(write(automated, after)).map(({ action }) => action)).toEqual([
        'auto_sync_disabled',
        'self_heal_disabled',
      ]);
    expect(actionsOf(write({}, off, true))).toEqual([]);
  });
});

describe('what was asked of Flux', () => {
  const kustomization = (spec: JsonObject, annotations: JsonObject = {}) => ({
    metadata: { annotations },
    spec,
  });

  it('is to suspend and to resume, to reconcile now, and to change what is built', () => {
    const plain = kustomization({ path: './web' });
    const suspended = kustomization({ path: './web', suspend: true });
    expect(actionsOfFlux(write(plain, suspended))).toEqual([{ action: 'auto_sync_disabled' }]);
    expect(actionsOfFlux(write(suspended, plain))).toEqual([{ action: 'auto_sync_enabled' }]);
    const asked = kustomization(
      { path: './web' },
      { 'reconcile.fluxcd.io/requestedAt': '2026-03-02T09:00:00Z' },
    );
    expect(actionsOfFlux(write(plain, asked))).toEqual([{ action: 'sync' }]);
    expect(actionsOfFlux(write(asked, asked))).toEqual([]);
    const patched = kustomization({ path: './web', images: [{ name: 'web', newTag: '9' }] });
    expect(actionsOfFlux(write(plain, patched))).toEqual([{ action: 'override_set', detail: 'images' }]);
    expect(actionsOfFlux(write(patched, patched))).toEqual([]);
    expect(actionsOfFlux(write(patched, plain))).toEqual([{ action: 'override_removed', detail: 'images' }]);
    // A new one that is suspended was never switched off.
    expect(actionsOfFlux(write({}, suspended, true))).toEqual([]);
  });
});
