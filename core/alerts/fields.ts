import type { Json } from '../audit-event.js';
import type { FieldChange } from '../diff/diff.js';
import { type Matchable, type Part, valuesAt } from './matchable.js';
import type { Column } from './needs.js';

/** Names that rules of others use for what stands deeper in an audit event. */
const SHORT: Record<string, string[]> = {
  resource: ['objectRef', 'resource'],
  subresource: ['objectRef', 'subresource'],
  apiGroup: ['objectRef', 'apiGroup'],
  namespace: ['objectRef', 'namespace'],
  name: ['objectRef', 'name'],
  username: ['user', 'username'],
  groups: ['user', 'groups'],
  hostPath: ['requestObject', 'spec', 'volumes', 'hostPath', 'path'],
  capabilities: ['requestObject', 'spec', 'containers', 'securityContext', 'capabilities', 'add'],
};
/** The first words of paths into an audit event. */
const EVENT_FIELDS = new Set([
  ...[
    'level',
    'auditID',
    'stage',
    'requestURI',
    'verb',
    'user',
    'impersonatedUser',
    'sourceIPs',
    'userAgent',
  ],
  ...['objectRef', 'responseStatus', 'requestObject', 'responseObject', 'requestReceivedTimestamp'],
  ...['stageTimestamp', 'annotations', 'authenticationMetadata', 'kind', 'apiVersion'],
]);
const CHANGE_FIELDS = ['kind', 'class', 'tool', 'summary', 'flags'];
const VERDICT_FIELDS = ['verdict', 'reason', 'environment', 'final'];
const GAP_FIELDS = ['cause', 'source', 'missing'];

/** The columns in which what a path into an event, or a field of ours, reads is stored. */
const COLUMN_OF: Record<string, Column> = {
  verb: 'verb',
  'objectRef.apiGroup': 'apiGroup',
  'objectRef.resource': 'resource',
  'objectRef.subresource': 'subresource',
  'objectRef.namespace': 'namespace',
  'objectRef.name': 'name',
  'user.username': 'username',
  class: 'class',
  'change.kind': 'kind',
  'change.class': 'class',
  'change.tool': 'tool',
  'verdict.verdict': 'verdict',
  'verdict.reason': 'reason',
  'verdict.environment': 'environment',
};

/** A field of what rules look at. */
export interface Field {
  read(subject: Matchable): Json[];
  /** Where it is a column's value. */
  column: Column | undefined;
  parts: readonly Part[];
}

/** A field of the audit event by its path. */
export function eventField(path: readonly string[]): Field {
  const bodies = path[0] === 'requestObject' || path[0] === 'responseObject';
  return {
    read: ({ event }) => valuesAt(event, path),
    column: COLUMN_OF[path.join('.')],
    parts: bodies ? ['bodies'] : [],
  };
}

/**
 * A field by the name that a rule has for it: a path into the audit event, one of the usual short names, or what the
 * ledger adds: `cluster`, `class`, `change.kind` (class, tool, summary, flags), `verdict.verdict` (reason, environment,
 * final), `diff.path` (the paths that changed), `diff.before.PATH` and `diff.after.PATH` (values there), `gap.cause`
 * (source, missing), `source.name`. Undefined: no such field.
 */
export function fieldNamed(name: string): Field | undefined {
  const path = name.split('.');
  const [first = '', second = ''] = path;
  const ours = (read: Field['read'], ...parts: Part[]): Field => ({ read, column: COLUMN_OF[name], parts });
  const at = (value: object | undefined) => valuesAt((value ?? null) as Json, [second]);
  if (name === 'cluster') return ours(({ cluster }) => [cluster]);
  if (name === 'class') return ours((subject) => (subject.class === undefined ? [] : [subject.class]));
  if (path.length === 2) {
    if (first === 'change' && CHANGE_FIELDS.includes(second))
      return ours(({ change }) => at(change), 'change');
    if (first === 'verdict' && VERDICT_FIELDS.includes(second))
      return ours(({ verdict }) => at(verdict), 'verdict');
    if (first === 'gap' && GAP_FIELDS.includes(second)) return ours(({ gap }) => at(gap), 'gap');
    if (name === 'source.name') return ours(({ source }) => at(source), 'source');
  }
  if (name === 'diff.path')
    return ours(({ change }) => (change?.diff ?? []).map((one) => one.path), 'change', 'diff');
  if (first === 'diff' && (second === 'before' || second === 'after') && path.length > 2) {
    const wanted = withoutKeys(path.slice(2).join('.'));
    return ours(({ change }) => changedValues(change?.diff ?? [], second, wanted), 'change', 'diff');
  }
  const short = path.length === 1 ? SHORT[first] : undefined;
  if (short) return eventField(short);
  return EVENT_FIELDS.has(first) ? eventField(path) : undefined;
}

/** Values at a path on one side of a diff; also where a container that holds it was added or removed as a whole. */
function changedValues(diff: readonly FieldChange[], side: 'before' | 'after', wanted: string): Json[] {
  return diff.flatMap((one) => {
    const path = withoutKeys(one.path);
    const value = one[side];
    if (path === wanted) return valuesAt(value, []);
    return wanted.startsWith(`${path}.`) ? valuesAt(value, wanted.slice(path.length + 1).split('.')) : [];
  });
}

/** `containers[web].image` as `containers.image`: a rule means the field in whichever item. */
function withoutKeys(path: string): string {
  return path.replace(/\[[^\]]*\]/g, '');
}
