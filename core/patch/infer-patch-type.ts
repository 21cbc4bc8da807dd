import type { Json, JsonObject } from '../audit-event.js';
import type { PatchType } from '../vocabulary.js';

export interface PatchHints {
  requestURI: string;
  /** metadata.managedFields of the response. */
  managedFields?: Json;
  resourceGroup?: string;
}

const STRATEGIC_DIRECTIVES = ['$patch', '$setElementOrder/', '$deleteFromPrimitiveList/', '$retainKeys'];

/** Groups whose types are built in; all others are custom resources, which don't support strategic merge patches. */
const BUILT_IN_GROUP = /^$|^(apps|batch|autoscaling|policy|extensions)$|\.k8s\.io$/;
const CUSTOM_IN_K8S_IO = /^(gateway\.networking|snapshot\.storage|metrics|cluster\.x-k8s)\./;

/**
 * The type of a patch by its body; audit events don't carry the Content-Type.
 * An array is a JSON Patch. Directives exist only in strategic merge patches. A whole object sent with a fieldManager
 * that managedFields lists as an Apply is a server-side apply. Custom resources have merge patches only. What is left
 * is ambiguous.
 */
export function inferPatchType(body: Json | undefined, hints: PatchHints): PatchType | undefined {
  if (body === undefined || body === null || typeof body !== 'object') return undefined;
  if (Array.isArray(body)) return 'json';
  if (hasDirective(body, 0)) return 'strategic';
  if (isApply(body, hints)) return 'apply';
  const group = hints.resourceGroup ?? '';
  if (!BUILT_IN_GROUP.test(group) || CUSTOM_IN_K8S_IO.test(group)) return 'merge';
  return 'ambiguous';
}

function hasDirective(value: Json, depth: number): boolean {
  if (typeof value !== 'object' || value === null || depth > 30) return false;
  if (Array.isArray(value)) return value.some((item) => hasDirective(item, depth + 1));
  for (const [key, item] of Object.entries(value)) {
    if (key.startsWith('$') && STRATEGIC_DIRECTIVES.some((directive) => key.startsWith(directive)))
      return true;
    if (hasDirective(item, depth + 1)) return true;
  }
  return false;
}

/** Server-side apply requires fieldManager, apiVersion and kind (k8s.io/apiserver/pkg/endpoints/handlers/patch.go). */
function isApply(body: JsonObject, hints: PatchHints): boolean {
  if (typeof body.apiVersion !== 'string' || typeof body.kind !== 'string') return false;
  const query = new URLSearchParams(hints.requestURI.slice(hints.requestURI.indexOf('?') + 1));
  const manager = query.get('fieldManager');
  if (!manager) return false;
  if (query.has('force')) return true;
  const entries = Array.isArray(hints.managedFields) ? hints.managedFields : [];
  return entries.some((entry) => isMap(entry) && entry.operation === 'Apply' && entry.manager === manager);
}

function isMap(value: Json): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
