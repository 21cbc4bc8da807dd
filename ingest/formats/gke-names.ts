const VERSION = /^v\d+(?:(?:alpha|beta)\d+)?$/;
/** Groups of Kubernetes' own that are no domain's. */
const BARE_GROUPS = new Set(['apps', 'autoscaling', 'batch', 'extensions', 'policy']);

/**
 * The path of a request from an AuditLog's resourceName: `core/v1/namespaces/shop/pods/web-1`,
 * `rbac.authorization.k8s.io/v1/clusterroles/view`. Undefined for what has no such form.
 */
export function pathOfResourceName(name: string | undefined): string | undefined {
  const [group, version, ...rest] = name?.split('/') ?? [];
  if (!group || !version || !VERSION.test(version) || rest.length === 0 || rest.includes(''))
    return undefined;
  return group === 'core'
    ? `/api/${version}/${rest.join('/')}`
    : `/apis/${group}/${version}/${rest.join('/')}`;
}

/**
 * The same, without namespace and name, from a methodName: `io.k8s.core.v1.pods.create`,
 * `io.k8s.authorization.rbac.v1.clusterroles.patch` (the group's parts stand in reverse), `...pods.exec.create`.
 */
export function pathOfMethod(method: string): string | undefined {
  const parts = method.split('.');
  const at = parts.findIndex((part) => VERSION.test(part));
  const resource = parts[at + 1];
  if (at < 1 || resource === undefined || parts.length < at + 3) return undefined;
  const version = parts[at]!;
  const group = parts.slice(0, at).reverse().join('.');
  const short = group.replace(/\.k8s\.io$/, '');
  if (short === 'core') return `/api/${version}/${resource}`;
  return `/apis/${BARE_GROUPS.has(short) ? short : group}/${version}/${resource}`;
}
