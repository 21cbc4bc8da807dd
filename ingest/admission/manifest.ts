import { stringify } from 'yaml';
import { type GateSettings, gatePath, WEBHOOK_NAME } from '../../core/gate/decision.js';

export interface ManifestParts {
  /** Base URL as the apiserver reaches it, https. */
  baseURL: string;
  caPem: string;
  cluster: string;
  settings: GateSettings;
  timeoutSeconds: number;
  /** Namespaces that are never asked about. */
  exempt: readonly string[];
}

/** What people and pipelines write; controllers' bookkeeping, such as leases, events and status, is left out. */
const RULES: Array<{ apiGroups: string[]; resources: string[] }> = [
  {
    apiGroups: [''],
    resources: [
      ...['configmaps', 'namespaces', 'persistentvolumeclaims', 'pods', 'replicationcontrollers', 'secrets'],
      ...['serviceaccounts', 'services'],
    ],
  },
  {
    apiGroups: ['apps'],
    resources: ['daemonsets', 'deployments', 'deployments/scale', 'statefulsets', 'statefulsets/scale'],
  },
  { apiGroups: ['batch'], resources: ['cronjobs', 'jobs'] },
  {
    apiGroups: ['networking.k8s.io', 'policy', 'autoscaling', 'rbac.authorization.k8s.io'],
    resources: ['*'],
  },
];

/**
 * The ValidatingWebhookConfiguration (admissionregistration.k8s.io/v1) that has the apiserver ask us. A namespace is told
 * by its label kubernetes.io/metadata.name, which apiservers set since 1.21.
 */
export function webhookManifest(parts: ManifestParts): string {
  const { baseURL, cluster, settings } = parts;
  return stringify(
    {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'ValidatingWebhookConfiguration',
      metadata: { name: 'whochanged-gate' },
      webhooks: [
        {
          name: WEBHOOK_NAME,
          clientConfig: {
            url: `${baseURL.replace(/\/+$/, '')}/admission/v1/${encodeURIComponent(cluster)}/${gatePath(settings)}`,
            caBundle: Buffer.from(parts.caPem).toString('base64'),
          },
          admissionReviewVersions: ['v1'],
          sideEffects: 'NoneOnDryRun',
          failurePolicy: settings.failure === 'closed' ? 'Fail' : 'Ignore',
          matchPolicy: 'Equivalent',
          timeoutSeconds: parts.timeoutSeconds,
          namespaceSelector: {
            matchExpressions: [
              { key: 'kubernetes.io/metadata.name', operator: 'NotIn', values: [...parts.exempt] },
            ],
          },
          rules: [
            ...RULES.map((rule) => ({
              apiGroups: rule.apiGroups,
              apiVersions: ['*'],
              operations: ['CREATE', 'UPDATE', 'DELETE'],
              resources: rule.resources,
              scope: '*',
            })),
            {
              apiGroups: [''],
              apiVersions: ['*'],
              operations: ['CONNECT'],
              resources: ['pods/attach', 'pods/exec', 'pods/portforward'],
              scope: 'Namespaced',
            },
          ],
        },
      ],
    },
    { lineWidth: 0 },
  );
}
