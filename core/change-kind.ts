import { isJsonObject } from './classify.js';
import type { FieldChange } from './diff/diff.js';
import type { ChangeKind } from './vocabulary.js';
import { metadataOf, type Write } from './write.js';

const SUBRESOURCE_KINDS: Record<string, ChangeKind> = {
  eviction: 'eviction',
  binding: 'binding',
  token: 'token_request',
  exec: 'exec',
  attach: 'attach',
  portforward: 'port_forward',
  proxy: 'proxy',
  ephemeralcontainers: 'debug',
  scale: 'scale',
  approval: 'csr_approval',
};

const RBAC = 'rbac.authorization.k8s.io';
const RBAC_RESOURCES = new Set(['roles', 'clusterroles', 'rolebindings', 'clusterrolebindings']);
const RESTARTED_AT = 'spec.template.metadata.annotations["kubectl.kubernetes.io/restartedAt"]';

/** What a write did. `diff` holds its significant field changes, where both versions are known. */
export function changeKind(write: Write, diff: FieldChange[] | undefined): ChangeKind {
  const { verb, subresource, key } = write;
  if (subresource && SUBRESOURCE_KINDS[subresource] && verb !== 'deletecollection')
    return SUBRESOURCE_KINDS[subresource];
  // kubectl before 1.22 and the scheduler post to bindings.
  if (key.resource === 'bindings' && key.apiGroup === '') return 'binding';
  if (verb === 'deletecollection') return 'delete_collection';
  const rbac = key.apiGroup === RBAC && RBAC_RESOURCES.has(key.resource);
  if (verb === 'delete') return rbac ? 'rbac_revoke' : 'delete';
  if (isCreation(write)) return rbac ? 'rbac_grant' : 'create';
  if (removesLastFinalizer(write)) return 'finalizer_removal';
  if (!diff || diff.length === 0) return 'update';
  if (rbac) return rbacKind(diff);
  if (key.resource === 'nodes') {
    const cordon = diff.find((change) => change.path === 'spec.unschedulable');
    if (cordon) return cordon.after === true ? 'cordon' : 'uncordon';
  }
  if (diff.every((change) => change.path === 'spec.replicas')) return 'scale';
  if (diff.every((change) => RESTARTED_AT.startsWith(change.path)) && restarts(diff)) return 'restart';
  return 'update';
}

/** A patch or update answered 201 created the object (k8s.io/apiserver/pkg/endpoints/handlers/patch.go, update.go). */
export function isCreation(write: Write): boolean {
  if (write.subresource) return false;
  return (
    write.verb === 'create' || ((write.verb === 'patch' || write.verb === 'update') && write.code === 201)
  );
}

/**
 * A deleted object with finalizers disappears in the update that removes the last one
 * (k8s.io/apiserver/pkg/registry/generic/registry/store.go, ShouldDeleteDuringUpdate).
 */
export function removesLastFinalizer(write: Write): boolean {
  if (write.verb !== 'update' && write.verb !== 'patch') return false;
  const metadata = metadataOf(write.response);
  if (!metadata || typeof metadata.deletionTimestamp !== 'string') return false;
  if (Array.isArray(metadata.finalizers) && metadata.finalizers.length > 0) return false;
  if (write.key.resource === 'namespaces') {
    const spec = (write.response as { spec?: { finalizers?: unknown[] } }).spec;
    return write.subresource === 'finalize' && !spec?.finalizers?.length;
  }
  // A pod within its grace period outlives such updates.
  const grace = metadata.deletionGracePeriodSeconds;
  return typeof grace !== 'number' || grace === 0;
}

/** Taking away only is a revocation; anything else may widen what somebody can do. */
function rbacKind(diff: FieldChange[]): ChangeKind {
  const granting = diff.filter(
    (change) => /^(rules|subjects|aggregationRule|roleRef)\b/.test(change.path) || isAggregation(change),
  );
  if (granting.length === 0) return 'update';
  return granting.every((change) => change.op === 'remove') ? 'rbac_revoke' : 'rbac_grant';
}

const AGGREGATE_TO = 'rbac.authorization.k8s.io/aggregate-to-';

/**
 * Such a label gives a ClusterRole's rules to whoever has admin, edit or view
 * (plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go); it may come or go with the map around it.
 */
function isAggregation({ path, before, after }: FieldChange): boolean {
  if (path.startsWith(`metadata.labels["${AGGREGATE_TO}`)) return true;
  if (path !== 'metadata.labels') return false;
  return [before, after].some(
    (labels) => isJsonObject(labels) && Object.keys(labels).some((key) => key.startsWith(AGGREGATE_TO)),
  );
}

/** The annotation may be added alone, or with the annotations map around it. */
function restarts(diff: FieldChange[]): boolean {
  return diff.every((change) => {
    if (change.path === RESTARTED_AT) return true;
    let value = change.after;
    const below = change.path === 'spec.template.metadata.annotations' ? [] : ['annotations'];
    if (change.path !== 'spec.template.metadata.annotations' && change.path !== 'spec.template.metadata')
      return false;
    for (const key of below) value = isJsonObject(value) ? value[key] : undefined;
    return isJsonObject(value) && Object.keys(value).join() === 'kubectl.kubernetes.io/restartedAt';
  });
}
