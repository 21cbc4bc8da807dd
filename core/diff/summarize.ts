import type { Json, JsonObject } from '../audit-event.js';
import { canonicalJson, sortedKeys } from '../canonical.js';
import type { ChangeKind } from '../vocabulary.js';
import type { FieldChange } from './diff.js';

const MAX_LENGTH = 120;
const MAX_VALUE = 40;
const MAX_PARTS = 4;
const REDACTED = '[redacted:';

/**
 * One line that a tired person understands: `image web: nginx:1.25 → nginx:1.26; replicas 3 → 5`.
 * `object` is the state after the change (before, for a deletion), or the request where there is no state.
 */
export function summarizeChanges(
  kind: ChangeKind,
  diff: readonly FieldChange[],
  object: JsonObject | undefined,
  flags: readonly string[],
  requestURI = '',
): string {
  const text = sentence(kind, diff, object, flags, requestURI);
  return text.length <= MAX_LENGTH ? text : `${text.slice(0, MAX_LENGTH - 1)}…`;
}

function sentence(
  kind: ChangeKind,
  diff: readonly FieldChange[],
  object: JsonObject | undefined,
  flags: readonly string[],
  requestURI: string,
): string {
  switch (kind) {
    case 'create':
      return `created${describe(object)}`;
    case 'delete':
      return flags.includes('deletion_pending')
        ? 'deletion asked for; finalizers or a grace period hold it'
        : `deleted${describe(object)}`;
    case 'delete_collection':
      return flags.includes('items_unknown')
        ? 'deleted a collection (which objects is not recorded)'
        : 'deleted a collection';
    case 'finalizer_removal':
      return 'last finalizer removed: the object is gone';
    case 'eviction':
      return 'evicted';
    case 'binding':
      return diff.length > 0 ? list(diff) : 'bound to a node';
    case 'restart':
      return 'restarted';
    case 'cordon':
    case 'uncordon':
      return `${kind}ed`;
    case 'token_request':
      return 'token issued';
    case 'csr_approval':
      return approval(object);
    case 'rbac_grant':
    case 'rbac_revoke':
      return diff.length > 0
        ? list(diff)
        : `${kind === 'rbac_grant' ? 'granted' : 'revoked'}${grant(object)}`;
    case 'exec':
    case 'attach':
      return command(kind, requestURI);
    case 'port_forward':
      return 'port-forward';
    case 'debug':
      return `debug${debuggers(diff)}`;
    case 'proxy':
      return kind;
    default:
      if (diff.length > 0) return (flags.includes('before_unknown') ? 'set ' : '') + list(diff);
      if (flags.includes('content_not_recorded')) return 'updated (content not recorded)';
      if (flags.includes('before_unknown')) return 'replaced (the version before is not known)';
      return 'bookkeeping only';
  }
}

function list(diff: readonly FieldChange[]): string {
  const parts = diff.slice(0, MAX_PARTS).map(phrase);
  if (diff.length > MAX_PARTS) parts.push(`+${diff.length - MAX_PARTS} more`);
  return parts.join('; ');
}

const ITEM_FIELD = /(\w+)\[([^\]]+)\]\.(\w+)$/;
const ITEM = /(\w+)\[([^\]]+)\]$/;
const MAP_ENTRY = /(?:^|\.)(labels|annotations|data|stringData|matchLabels)(?:\.([\w-]+)|\["([^"]+)"\])$/;
const ENV = /containers\[([^\]]+)\]\.env\[([^\]]+)\](?:\.value)?$/i;

function phrase(change: FieldChange): string {
  const { path } = change;
  const env = ENV.exec(path);
  if (env) return withValues(`env ${env[1]}/${env[2]}`, change, envValue);
  const entry = MAP_ENTRY.exec(path);
  if (entry)
    return withValues(
      `${entry[1]!.replace(/^labels$/, 'label').replace(/^annotations$/, 'annotation')} ${entry[2] ?? entry[3]}`,
      change,
    );
  const field = ITEM_FIELD.exec(path);
  if (field) return withValues(`${field[3]} ${field[2]}`, change);
  const item = ITEM.exec(path);
  if (item && isPosition(item[2]!)) return listEntry(item[1]!, item[2]!, change);
  if (item) return withValues(`${singular(item[1]!)} ${item[2]}`, change, itemValue);
  return withValues(path.replace(/^spec\./, ''), change);
}

function isPosition(key: string): boolean {
  return /^\d+$/.test(key);
}

/** An entry of a list without keys: what came or went tells more than its place. */
function listEntry(list: string, position: string, change: FieldChange): string {
  const value = change.op === 'add' ? change.after : change.before;
  const scalar = value !== undefined && !isMap(value) && !Array.isArray(value) && !isRedacted(value);
  if (scalar && (change.op === 'add' || change.op === 'remove'))
    return `${change.op === 'add' ? '+' : '-'}${singular(list)} ${plain(value)}`;
  return withValues(`${list}[${position}]`, change);
}

function singular(name: string): string {
  return name.endsWith('s') && !name.endsWith('ss') ? name.slice(0, -1) : name;
}

function withValues(
  name: string,
  change: FieldChange,
  show: (value: Json | undefined) => string = plain,
): string {
  if (isRedacted(change.before) || isRedacted(change.after)) {
    const did = change.op === 'add' ? 'added' : change.op === 'remove' ? 'removed' : 'changed';
    return `${name} ${did} (redacted)`;
  }
  switch (change.op) {
    case 'add': {
      const value = show(change.after);
      return `+${name}${value && `=${value}`}`;
    }
    case 'remove':
      return `-${name}`;
    case 'reorder':
      return `${name} reordered`;
    case 'replace':
      return 'before' in change
        ? `${name}: ${show(change.before)} → ${show(change.after)}`
        : `${name}=${show(change.after)}`;
  }
}

function isRedacted(value: Json | undefined): boolean {
  return typeof value === 'string'
    ? value.includes(REDACTED)
    : isMap(value) && typeof value.value === 'string' && value.value.includes(REDACTED);
}

function isMap(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function plain(value: Json | undefined): string {
  if (value === undefined) return '';
  const text =
    typeof value === 'string'
      ? value
      : Array.isArray(value) && value.every((item) => typeof item === 'string')
        ? value.join(',')
        : canonicalJson(value);
  const line = text.replace(/\s+/g, ' ');
  return line.length <= MAX_VALUE ? line : `${line.slice(0, MAX_VALUE - 1)}…`;
}

function envValue(value: Json | undefined): string {
  return isMap(value) ? ('value' in value ? plain(value.value) : 'from a reference') : plain(value);
}

function itemValue(value: Json | undefined): string {
  if (!isMap(value)) return '';
  return typeof value.image === 'string' ? plain(value.image) : '';
}

/** The images of a new or deleted workload, or what else tells objects of a kind apart. */
function describe(object: JsonObject | undefined): string {
  if (!object) return '';
  const spec = isMap(object.spec) ? object.spec : undefined;
  const template = isMap(spec?.template) && isMap(spec.template.spec) ? spec.template.spec : spec;
  const containers = Array.isArray(template?.containers) ? template.containers : [];
  const images = containers.flatMap((container) =>
    isMap(container) && typeof container.image === 'string' ? [container.image] : [],
  );
  const replicas =
    typeof spec?.replicas === 'number' ? `, ${spec.replicas} replica${spec.replicas === 1 ? '' : 's'}` : '';
  if (images.length > 0) return ` (${images.map(plain).join(', ')}${replicas})`;
  const keys = isMap(object.data) ? sortedKeys(object.data) : [];
  return keys.length > 0 ? ` (${plain(keys.join(', '))})` : '';
}

function grant(object: JsonObject | undefined): string {
  const role = isMap(object?.roleRef) ? `${object.roleRef.kind} ${object.roleRef.name}` : '';
  const subjects = Array.isArray(object?.subjects)
    ? object.subjects.flatMap((item) => (isMap(item) ? [`${item.kind} ${item.name}`] : []))
    : [];
  if (role) return ` ${role} to ${subjects.length > 0 ? subjects.map(plain).join(', ') : 'nobody'}`;
  const rules = Array.isArray(object?.rules) ? object.rules.length : undefined;
  return rules === undefined ? '' : ` ${rules} rule${rules === 1 ? '' : 's'}`;
}

function approval(object: JsonObject | undefined): string {
  const status = isMap(object?.status) ? object.status : undefined;
  const types = Array.isArray(status?.conditions)
    ? status.conditions.flatMap((item) => (isMap(item) ? [String(item.type)] : []))
    : [];
  if (types.includes('Denied')) return 'certificate request denied';
  return types.includes('Approved') ? 'certificate request approved' : 'certificate request decided';
}

/** The ephemeral containers that came, where that was recorded: the first makes their list. */
function debuggers(diff: readonly FieldChange[]): string {
  const added = diff.flatMap(({ path, op, after }) =>
    op === 'add' && path.startsWith('spec.ephemeralContainers') && after !== undefined ? [after].flat() : [],
  );
  const texts = added.filter(isMap).map(({ name, image, targetContainerName: target }) => {
    const into = typeof target === 'string' && target !== '' ? ` into ${target}` : '';
    return `${into}: ${plain(image)} as ${plain(name)}`;
  });
  return texts.join(';');
}

function command(kind: string, requestURI: string): string {
  const query = new URLSearchParams(requestURI.slice(requestURI.indexOf('?') + 1));
  const words = query.getAll('command');
  const container = query.get('container');
  return `${kind}${container ? ` into ${container}` : ''}${words.length > 0 ? `: ${words.join(' ')}` : ''}`;
}
