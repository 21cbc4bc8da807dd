import type { ObjectReference } from './audit-event.js';

const NAMESPACE_SUBRESOURCES = new Set(['status', 'finalize']);

/**
 * The object that the path of a request names, as the apiserver reads it
 * (k8s.io/apiserver/pkg/endpoints/request/requestinfo.go). Undefined for a path that is no resource's.
 */
export function refOfPath(requestURI: string): ObjectReference | undefined {
  const path = requestURI.split('?', 1)[0]!;
  const [prefix, ...rest] = path.split('/').filter((part) => part !== '');
  const grouped = prefix === 'apis';
  if (!grouped && prefix !== 'api') return undefined;
  const parts = rest.slice(grouped ? 2 : 1);
  const [apiGroup, apiVersion] = grouped ? rest : [undefined, rest[0]];
  const ref: ObjectReference = {};
  if (apiGroup !== undefined) ref.apiGroup = apiGroup;
  if (apiVersion !== undefined) ref.apiVersion = apiVersion;
  if (parts[0] === 'watch' || parts[0] === 'proxy') parts.shift();
  if (parts[0] === 'namespaces' && parts.length > 1) {
    ref.namespace = decoded(parts[1]!);
    if (parts.length > 2 && !NAMESPACE_SUBRESOURCES.has(parts[2]!)) parts.splice(0, 2);
  }
  if (parts.length === 0) return undefined;
  const [resource, name, subresource] = parts;
  ref.resource = resource!;
  if (name !== undefined) ref.name = decoded(name);
  if (subresource !== undefined) ref.subresource = subresource;
  return ref;
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
