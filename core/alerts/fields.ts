import type { Json } from '../audit-event.js';
import { type Matchable, valuesAt } from './matchable.js';

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
const VERDICT_FIELDS = ['verdict', 'reason', 'environment'];

/**
 * A reader of a field by the name that a rule has for it: a path into the audit event, one of the usual short names, or
 * what the ledger adds: `cluster`, `change.kind` (class, tool, summary, flags), `verdict.verdict` (reason, environment),
 * `diff.path` (the paths that changed), `diff.before.PATH` and `diff.after.PATH` (values there). Undefined: no such field.
 */
export function fieldReader(name: string): ((subject: Matchable) => Json[]) | undefined {
  const path = name.split('.');
  const [first = '', second = ''] = path;
  if (name === 'cluster') return ({ cluster }) => [cluster];
  if (first === 'change' && path.length === 2 && CHANGE_FIELDS.includes(second))
    return ({ change }) => valuesAt((change ?? null) as unknown as Json, [second]);
  if (first === 'verdict' && path.length === 2 && VERDICT_FIELDS.includes(second))
    return ({ verdict }) => valuesAt((verdict ?? null) as unknown as Json, [second]);
  if (name === 'diff.path') return ({ change }) => (change?.diff ?? []).map((one) => one.path);
  if (first === 'diff' && (second === 'before' || second === 'after') && path.length > 2) {
    const wanted = withoutKeys(path.slice(2).join('.'));
    return ({ change }) =>
      (change?.diff ?? []).flatMap((one) =>
        withoutKeys(one.path) === wanted ? valuesAt(one[second] as Json | undefined, []) : [],
      );
  }
  const short = path.length === 1 ? SHORT[first] : undefined;
  if (short) return ({ event }) => valuesAt(event, short);
  return EVENT_FIELDS.has(first) ? ({ event }) => valuesAt(event, path) : undefined;
}

/** `containers[web].image` as `containers.image`: a rule means the field in whichever item. */
function withoutKeys(path: string): string {
  return path.replace(/\[[^\]]*\]/g, '');
}
