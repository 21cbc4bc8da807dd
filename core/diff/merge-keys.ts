import type { Json, JsonObject } from '../audit-event.js';

/**
 * How the items of a list are told apart: by the fields of x-kubernetes-patch-merge-key / x-kubernetes-list-map-keys
 * in the built-in types (staging/src/k8s.io/api), by their own value for sets, or by position.
 */
type ListRule =
  | { fields: readonly string[]; defaults?: Record<string, string> }
  | 'set'
  | 'content'
  | 'atomic';

const BY_NAME: ListRule = { fields: ['name'] };

/** By the list's own field name; where kinds disagree, KIND_RULES decides first. */
const RULES: Record<string, ListRule> = {
  containers: BY_NAME,
  initContainers: BY_NAME,
  ephemeralContainers: BY_NAME,
  containerStatuses: BY_NAME,
  initContainerStatuses: BY_NAME,
  ephemeralContainerStatuses: BY_NAME,
  env: BY_NAME,
  volumes: BY_NAME,
  imagePullSecrets: BY_NAME,
  secrets: BY_NAME,
  webhooks: BY_NAME,
  versions: BY_NAME,
  volumeClaimTemplates: { fields: ['metadata.name'] },
  volumeMounts: { fields: ['mountPath'] },
  volumeDevices: { fields: ['devicePath'] },
  hostAliases: { fields: ['ip'] },
  conditions: { fields: ['type'] },
  addresses: { fields: ['type', 'address'] },
  ownerReferences: { fields: ['uid'] },
  taints: { fields: ['key', 'effect'] },
  topologySpreadConstraints: { fields: ['topologyKey', 'whenUnsatisfiable'] },
  resourceClaims: BY_NAME,
  subjects: { fields: ['kind', 'namespace', 'name'] },
  podIPs: { fields: ['ip'] },
  hostIPs: { fields: ['ip'] },
  finalizers: 'set',
  accessModes: 'set',
  rules: 'content',
  tolerations: 'atomic',
  args: 'atomic',
  command: 'atomic',
};

const CONTAINER_PORTS: ListRule = { fields: ['containerPort', 'protocol'], defaults: { protocol: 'TCP' } };
const SERVICE_PORTS: ListRule = { fields: ['port', 'protocol'], defaults: { protocol: 'TCP' } };
const LABELS = ['name', 'key', 'id', 'type'] as const;

function ruleOf(field: string, parentField: string, items: readonly Json[]): ListRule | undefined {
  if (field === 'ports') {
    const first = items.find(isObject);
    if (first && 'containerPort' in first) return CONTAINER_PORTS;
    return parentField === 'spec' ? SERVICE_PORTS : undefined;
  }
  if (field === 'rules')
    return items.some((item) => isObject(item) && ('verbs' in item || 'resources' in item))
      ? 'content'
      : hostRule(items);
  return Object.hasOwn(RULES, field) ? RULES[field] : undefined;
}

/** Ingress rules have a host each; most other lists called rules have nothing to tell them apart. */
function hostRule(items: readonly Json[]): ListRule | undefined {
  return items.length > 0 && items.every((item) => isObject(item) && typeof item.host === 'string')
    ? { fields: ['host'] }
    : undefined;
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * The keys of both sides' items where the list is matched by key, aligned with the items; undefined where it can only
 * be matched by position: no key is known, an item lacks it, or two items share one.
 */
export function listKeys(
  field: string,
  parentField: string,
  before: readonly Json[],
  after: readonly Json[],
): { before: string[]; after: string[] } | undefined {
  const both = before.length === 0 ? after : before;
  const rule = ruleOf(field, parentField, both) ?? guessedRule(before, after);
  if (rule === undefined || rule === 'atomic') return undefined;
  const left = keysOf(before, rule);
  const right = keysOf(after, rule);
  return left && right && { before: left, after: right };
}

function keysOf(items: readonly Json[], rule: Exclude<ListRule, 'atomic'>): string[] | undefined {
  const keys: string[] = [];
  const seen = new Set<string>();
  for (const item of items) {
    const key = keyOf(item, rule);
    if (key === undefined || seen.has(key)) return undefined;
    seen.add(key);
    keys.push(key);
  }
  return keys;
}

function keyOf(item: Json, rule: Exclude<ListRule, 'atomic'>): string | undefined {
  if (rule === 'set') return typeof item === 'string' ? item : undefined;
  if (rule === 'content') return isObject(item) ? contentKey(item) : undefined;
  if (!isObject(item)) return undefined;
  const parts: string[] = [];
  for (const field of rule.fields) {
    const value =
      field === 'metadata.name' ? (isObject(item.metadata) ? item.metadata.name : undefined) : item[field];
    const text = value ?? rule.defaults?.[field] ?? (field === 'namespace' ? '' : undefined);
    if (typeof text !== 'string' && typeof text !== 'number') return undefined;
    if (field !== 'namespace' || text !== '') parts.push(String(text));
  }
  return parts.join('/');
}

/** RBAC rules: what a rule covers is its name; what it allows there may change. */
function contentKey(rule: JsonObject): string | undefined {
  const words = (value: Json | undefined) => (Array.isArray(value) ? value.map(String).sort().join(',') : '');
  const names = words(rule.resourceNames);
  const targets = words(rule.resources) || words(rule.nonResourceURLs);
  if (targets === '') return undefined;
  const group = words(rule.apiGroups);
  return `${targets}${group ? `.${group}` : ''}${names ? `:${names}` : ''}`;
}

/** Unknown lists (custom resources): an obvious label that every item of both sides has, unique within each. */
function guessedRule(before: readonly Json[], after: readonly Json[]): ListRule | undefined {
  if (before.length + after.length === 0) return undefined;
  for (const label of LABELS) {
    const rule: ListRule = { fields: [label] };
    if (keysOf(before, rule) && keysOf(after, rule)) return rule;
  }
  return undefined;
}

/** The fields that a list's items are matched by, where it is a keyed list; for strategic merge patches. */
export function mergeKeyFields(
  field: string,
  parentField: string,
  items: readonly Json[],
): readonly string[] | undefined {
  const rule = ruleOf(field, parentField, items);
  return typeof rule === 'object' ? rule.fields : undefined;
}
