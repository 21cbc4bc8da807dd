import type { UserInfo } from './audit-event.js';

/**
 * Controllers of kube-controller-manager that write with their own service account in kube-system
 * (cmd/kube-controller-manager/names/controller_names.go and pkg/controller; flag --use-service-account-credentials).
 * Cloud and add-on controllers are not here: what they do is not a mere consequence.
 */
const CONTROLLER_ACCOUNTS = new Set([
  'attachdetach-controller',
  'bootstrap-signer',
  'certificate-controller',
  'clusterrole-aggregation-controller',
  'cronjob-controller',
  'daemon-set-controller',
  'deployment-controller',
  'device-taint-eviction-controller',
  'disruption-controller',
  'endpoint-controller',
  'endpointslice-controller',
  'endpointslicemirroring-controller',
  'ephemeral-volume-controller',
  'expand-controller',
  'generic-garbage-collector',
  'horizontal-pod-autoscaler',
  'job-controller',
  'legacy-service-account-token-cleaner',
  'namespace-controller',
  'node-controller',
  'node-ipam-controller',
  'persistent-volume-binder',
  'pod-garbage-collector',
  'pv-protection-controller',
  'pvc-protection-controller',
  'replicaset-controller',
  'replication-controller',
  'resource-claim-controller',
  'resourcequota-controller',
  'root-ca-cert-publisher',
  'route-controller',
  'selinux-warning-controller',
  'service-account-controller',
  'service-cidrs-controller',
  'service-controller',
  'statefulset-controller',
  'storage-version-migrator-controller',
  'taint-eviction-controller',
  'token-cleaner',
  'ttl-after-finished-controller',
  'ttl-controller',
  'validatingadmissionpolicy-status-controller',
  'volumeattributesclass-protection-controller',
]);

const CONTROL_PLANE_USERS = new Set([
  'system:apiserver',
  'system:kube-controller-manager',
  'system:kube-scheduler',
  'system:kube-proxy',
]);

const NODE = 'system:node:';

/** The usernames of built-in controllers: these, and those that begin so. `builtInController` says the same of one. */
export const BUILT_IN_CONTROLLERS: { names: readonly string[]; prefix: string } = {
  names: [
    ...CONTROL_PLANE_USERS,
    ...[...CONTROLLER_ACCOUNTS].map((account) => `system:serviceaccount:kube-system:${account}`),
  ],
  prefix: NODE,
};

const SERVICE_ACCOUNT = /^system:serviceaccount:([^:]+):([^:]+)$/;

/** Namespace and name of a service account user (k8s.io/apiserver/pkg/authentication/serviceaccount). */
export function serviceAccountOf(username: string): { namespace: string; name: string } | undefined {
  const match = SERVICE_ACCOUNT.exec(username);
  return match ? { namespace: match[1]!, name: match[2]! } : undefined;
}

/** The built-in controller behind a username, such as `replicaset-controller`; undefined for everyone else. */
export function builtInController(username: string): string | undefined {
  if (CONTROL_PLANE_USERS.has(username)) return username.slice('system:'.length);
  if (username.startsWith(NODE)) return 'kubelet';
  const account = serviceAccountOf(username);
  return account?.namespace === 'kube-system' && CONTROLLER_ACCOUNTS.has(account.name)
    ? account.name
    : undefined;
}

/** The pod that held a bound service account token, where the apiserver noted it (since 1.22 / 1.30). */
export function podOf(user: UserInfo): { name: string; uid?: string } | undefined {
  const name = user.extra?.['authentication.kubernetes.io/pod-name']?.[0];
  if (!name) return undefined;
  const uid = user.extra?.['authentication.kubernetes.io/pod-uid']?.[0];
  return uid ? { name, uid } : { name };
}
