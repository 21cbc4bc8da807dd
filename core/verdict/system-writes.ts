import { builtInController } from '../actors.js';
import { isApplication } from '../links/argocd-application.js';
import { isHelmRelease, isKustomization } from '../links/flux-status.js';
import type { Subject } from '../links/link.js';
import type { AllowedWrite, Policy } from './policy.js';
import { actorOf } from './policy-match.js';

/**
 * What each controller of Kubernetes writes (pkg/controller/*, plugin/pkg/auth/authorizer/rbac/bootstrappolicy). A write
 * beyond that, with its account, is not its doing. `*` as a resource: any; after a colon: the subresources, or the verbs
 * that it is limited to.
 */
const WRITES: Record<string, AllowedWrite[]> = {
  'replicaset-controller': [any('pods', 'replicasets.apps')],
  'replication-controller': [any('pods', 'replicationcontrollers')],
  'deployment-controller': [any('replicasets.apps'), only(['deployments.apps'], ['metadata.annotations'])],
  'statefulset-controller': [
    any('pods', 'persistentvolumeclaims', 'controllerrevisions.apps'),
    only(['statefulsets.apps'], ['metadata.annotations']),
  ],
  'daemon-set-controller': [
    any('pods', 'controllerrevisions.apps'),
    only(['daemonsets.apps'], ['metadata.annotations']),
  ],
  'job-controller': [any('pods', 'jobs.batch')],
  'cronjob-controller': [any('jobs.batch', 'pods'), only(['cronjobs.batch'], ['metadata'])],
  'endpoint-controller': [any('endpoints')],
  'endpointslice-controller': [any('endpointslices.discovery.k8s.io')],
  'endpointslicemirroring-controller': [any('endpointslices.discovery.k8s.io')],
  'service-account-controller': [any('serviceaccounts')],
  'root-ca-cert-publisher': [any('configmaps')],
  'resourcequota-controller': [any('resourcequotas')],
  'disruption-controller': [any('poddisruptionbudgets.policy', 'pods')],
  'certificate-controller': [any('certificatesigningrequests.certificates.k8s.io')],
  'clusterrole-aggregation-controller': [any('clusterroles.rbac.authorization.k8s.io')],
  'persistent-volume-binder': [
    any('persistentvolumes', 'persistentvolumeclaims', 'pods', 'endpoints', 'services', 'secrets'),
  ],
  'attachdetach-controller': [
    any('volumeattachments.storage.k8s.io', 'nodes', 'persistentvolumeclaims', 'persistentvolumes'),
  ],
  'expand-controller': [any('persistentvolumes', 'persistentvolumeclaims')],
  'ephemeral-volume-controller': [any('persistentvolumeclaims', 'pods')],
  'pvc-protection-controller': [any('persistentvolumeclaims')],
  'pv-protection-controller': [any('persistentvolumes')],
  'volumeattributesclass-protection-controller': [any('volumeattributesclasses.storage.k8s.io')],
  'node-controller': [any('nodes', 'pods')],
  'node-ipam-controller': [any('nodes')],
  'route-controller': [any('nodes')],
  'service-controller': [any('services')],
  'ttl-controller': [any('nodes')],
  'taint-eviction-controller': [any('pods')],
  'device-taint-eviction-controller': [any('pods')],
  'pod-garbage-collector': [any('pods')],
  'ttl-after-finished-controller': [any('jobs.batch')],
  'token-cleaner': [any('secrets')],
  'bootstrap-signer': [any('configmaps', 'secrets')],
  'legacy-service-account-token-cleaner': [any('secrets')],
  'service-cidrs-controller': [any('servicecidrs.networking.k8s.io', 'ipaddresses.networking.k8s.io')],
  'resource-claim-controller': [any('resourceclaims.resource.k8s.io', 'pods')],
  'validatingadmissionpolicy-status-controller': [
    any('validatingadmissionpolicies.admissionregistration.k8s.io'),
  ],
  'selinux-warning-controller': [],
  'kube-scheduler': [
    any('pods', 'bindings', 'persistentvolumeclaims', 'persistentvolumes', 'resourceclaims.resource.k8s.io'),
  ],
  'kube-proxy': [],
  kubelet: [
    any(
      'pods',
      'nodes',
      'serviceaccounts',
      'certificatesigningrequests.certificates.k8s.io',
      'csinodes.storage.k8s.io',
      'volumeattachments.storage.k8s.io',
      'resourceslices.resource.k8s.io',
      'persistentvolumeclaims',
      'persistentvolumes',
      'secrets',
    ),
  ],
  'horizontal-pod-autoscaler': [only(['*'], ['spec.replicas']), any('horizontalpodautoscalers.autoscaling')],
  'generic-garbage-collector': [
    { resources: ['*'], verbs: ['delete'], fields: [] },
    only(
      ['*'],
      [
        'metadata.finalizers',
        'metadata.ownerReferences',
        'metadata.deletionTimestamp',
        'metadata.deletionGracePeriodSeconds',
      ],
    ),
  ],
  'namespace-controller': [
    { resources: ['*'], verbs: ['delete', 'deletecollection'], fields: [] },
    any('namespaces'),
  ],
  'storage-version-migrator-controller': [any('*')],
  apiserver: [any('*')],
  'kube-controller-manager': [any('*')],
};

function any(...resources: string[]): AllowedWrite {
  return { resources, verbs: [], fields: [] };
}

function only(resources: string[], fields: string[]): AllowedWrite {
  return { resources, verbs: [], fields };
}

/** What argocd's and Flux' controllers write on their own objects, besides status: the operation taken up, marks, finalizers. */
const OWN_BOOKKEEPING = [
  'operation',
  'status',
  'metadata.finalizers',
  'metadata.annotations["argocd.argoproj.io/refresh"]',
  'metadata.annotations["argocd.argoproj.io/hydrate"]',
];

export type SystemWrite =
  | { is: 'system'; controller: string; rootless: boolean; detail: string }
  /** The account of a controller, and a write that isn't one of that controller's. */
  | { is: 'unexpected'; controller: string }
  | { is: 'no' };

/** Whether a change is one of those that an allow-listed controller makes on its own. */
export function systemWrite(subject: Subject, policy: Policy): SystemWrite {
  if (subject.impersonatedUser) return { is: 'no' };
  const controller = builtInController(subject.user.username);
  if (controller !== undefined) {
    const allowed = WRITES[controller] ?? [];
    return allowed.some((write) => allows(write, subject))
      ? { is: 'system', controller, rootless: false, detail: `${controller} does that on its own` }
      : { is: 'unexpected', controller };
  }
  const actor = actorOf(policy, subject.user);
  switch (actor?.kind) {
    case 'system':
      return actor.writes.some((write) => allows(write, subject))
        ? {
            is: 'system',
            controller: actor.name,
            rootless: true,
            detail: `the policy lets ${actor.name} write that`,
          }
        : { is: 'unexpected', controller: actor.name };
    case 'argocd':
      return isApplication(subject.key) && touchesOnly(subject, OWN_BOOKKEEPING)
        ? {
            is: 'system',
            controller: actor.name,
            rootless: true,
            detail: 'Argo CD takes up an operation, or notes its outcome',
          }
        : { is: 'no' };
    case 'argocd_server':
      return isApplication(subject.key) && touchesOnly(subject, OWN_BOOKKEEPING)
        ? {
            is: 'system',
            controller: actor.name,
            rootless: true,
            detail: 'a sync was asked for: what it writes is judged by itself',
          }
        : { is: 'no' };
    case 'flux':
    case 'helm_controller':
      return (isKustomization(subject.key) || isHelmRelease(subject.key)) &&
        touchesOnly(subject, OWN_BOOKKEEPING)
        ? {
            is: 'system',
            controller: actor.name,
            rootless: true,
            detail: 'Flux keeps books on its own object',
          }
        : { is: 'no' };
    default:
      return { is: 'no' };
  }
}

function allows(write: AllowedWrite, subject: Subject): boolean {
  const { apiGroup, resource } = subject.key;
  const name = apiGroup === '' ? resource : `${resource}.${apiGroup}`;
  if (!write.resources.some((item) => item === '*' || item === name || item === resource)) return false;
  if (write.verbs.length > 0 && !write.verbs.includes(subject.verb)) return false;
  if (write.fields.length === 0) return true;
  // Writes to /scale show no more than that, and only replicas stand in it.
  if (subject.kind === 'scale' && write.fields.includes('spec.replicas')) return true;
  return touchesOnly(subject, write.fields);
}

/** Whether it is known that a change touched nothing but these fields and what is below them. */
function touchesOnly(subject: Subject, fields: readonly string[]): boolean {
  if (subject.kind === 'finalizer_removal') return fields.some((field) => field.startsWith('metadata'));
  if (subject.kind !== 'update' && subject.kind !== 'scale') return false;
  return (
    subject.paths?.every((path) =>
      fields.some((field) => path === field || path.startsWith(`${field}.`) || path.startsWith(`${field}[`)),
    ) ?? false
  );
}
