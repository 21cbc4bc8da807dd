import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../../../core/audit-event.js';
import { compareContent, isSameContent } from '../../../core/links/compare-content.js';
import { readMutations } from '../../../core/manifest/admission.js';

const deployment = (container: JsonObject, more: JsonObject = {}): JsonObject => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'web', namespace: 'shop' },
  spec: { template: { spec: { containers: [{ name: 'web', ...container }], ...more } } },
});
const CONTAINER = 'spec.template.spec.containers[web]';
const manifest = deployment({ image: 'web:1', resources: { limits: { cpu: '1000m' } } });
/** The container as the manifest says, in the apiserver's words, with its defaults. */
const written = { image: 'web:1', resources: { limits: { cpu: '1' } }, imagePullPolicy: 'IfNotPresent' };
const injected = readMutations({
  'mutation.webhook.admission.k8s.io/round_0_index_0':
    '{"configuration":"mesh","webhook":"inject.mesh.io","mutated":true}',
  'patch.webhook.admission.k8s.io/round_0_index_0':
    '{"patch":[{"op":"add","path":"/spec/template/spec/hostAliases","value":[]}]}',
});

describe('what was written against what the commit says', () => {
  it('is equal in other words, and with what the apiserver and webhooks set', () => {
    const after = deployment(written, { hostAliases: [{ ip: '10.0.0.1' }], dnsPolicy: 'ClusterFirst' });
    const found = compareContent(manifest, after, undefined, 'plain', injected);
    expect(found).toMatchObject({
      state: 'equal',
      different: [],
      addedByAdmission: ['spec.template.spec.hostAliases'],
      defaulted: ['spec.template.spec.containers[web].imagePullPolicy', 'spec.template.spec.dnsPolicy'],
      unexplained: [],
      webhooks: ['inject.mesh.io'],
    });
    expect(isSameContent(found)).toBe(true);
  });

  it('is different where a field of the manifest is, unless a webhook made it so', () => {
    const after = deployment({ ...written, image: 'mirror/web:1' });
    expect(compareContent(manifest, after, undefined, 'plain', [])).toMatchObject({
      state: 'different',
      different: [`${CONTAINER}.image`],
    });
    // It was sent as the manifest has it.
    expect(compareContent(manifest, after, deployment({ ...written }), 'plain', [])).toMatchObject({
      state: 'equal',
      changedByAdmission: [`${CONTAINER}.image`],
    });
  });

  it('is not the same where somebody wrote more', () => {
    const after = deployment({ ...written, securityContext: { privileged: true } });
    const found = compareContent(manifest, after, undefined, 'plain', []);
    expect(found).toMatchObject({
      state: 'equal',
      unexplained: [`${CONTAINER}.securityContext.privileged`],
    });
    expect(isSameContent(found)).toBe(false);
    const sent = compareContent(manifest, after, after, 'plain', []);
    expect(sent.addedByWriter).toContain(`${CONTAINER}.securityContext.privileged`);
    expect(isSameContent(sent)).toBe(false);
  });
});
