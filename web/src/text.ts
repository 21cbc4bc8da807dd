import type { Change, ObjectItem } from './answers.ts';

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** `24 Nov 13:38:11`, in UTC as everything here: people in two places must read the same. */
export function clock(at: string): string {
  return `${Number(at.slice(8, 10))} ${MONTHS[Number(at.slice(5, 7)) - 1]} ${at.slice(11, 19)}`;
}

/** `2026-11-24 13:38:11 UTC` */
export function fullClock(at: string): string {
  return `${at.slice(0, 10)} ${at.slice(11, 19)} UTC`;
}

/** How long before now: `40 s ago`, `3 h ago`, `12 d ago`. */
export function age(at: string, now = Date.now()): string {
  const seconds = Math.max(0, Math.round((now - Date.parse(at)) / 1000));
  if (seconds < 90) return `${seconds} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 129_600) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86_400)} d ago`;
}

/** `15 min`, `6 h`, `3 d` */
export function span(seconds: number): string {
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

/** A username as a list shows it: what every ServiceAccount begins with is left out. */
export function shortActor(username: string): string {
  if (username === '') return 'unresolved';
  return username.replace(/^system:serviceaccount:/, 'sa:');
}

export function actorHref(username: string): string {
  return `/actors/${encodeURIComponent(username)}`;
}

/** The object's own view; undefined for a request that names none. */
export function objectHref(cluster: string, object: ObjectItem): string | undefined {
  if (!object.name) return undefined;
  const parts = [cluster, object.group || 'core', object.resource, object.namespace ?? '-', object.name];
  return `/objects/${parts.map(encodeURIComponent).join('/')}`;
}

export function placeText(object: ObjectItem): string {
  const name = object.name ? `${object.resource}/${object.name}` : object.resource;
  return object.subresource ? `${name}/${object.subresource}` : name;
}

/** `rbac_grant` as `rbac grant`; what has no kind is told by its class. */
export function kindText(change: Change): string {
  return (change.kind ?? change.class).replaceAll('_', ' ');
}

const APPROVED = new Set(['approved', 'excluded', 'system']);
const FAILING = new Set(['unapproved', 'self-approved', 'out-of-band']);

/** What a reader must know before they take a change's summary for seen, or whole. */
export function doubtsOf(change: Change): string[] {
  return [
    ...(change.certainty?.summary === 'inferred' ? ['inferred'] : []),
    ...(change.outcome === 'unknown' ? ['outcome unknown'] : []),
    ...change.flags
      .filter((flag) => flag === 'generation_gap' || flag === 'audit_id_reused')
      .map((flag) => flag.replaceAll('_', ' ')),
  ];
}

/** How a verdict is toned: in order, a failure, or not known yet. */
export function verdictTone(verdict: string): 'ok' | 'fails' | 'risky' {
  return APPROVED.has(verdict) ? 'ok' : FAILING.has(verdict) ? 'fails' : 'risky';
}

const RISKY = new Set([
  'rbac_grant',
  'csr_approval',
  'token_request',
  'exec',
  'attach',
  'port_forward',
  'proxy',
  'debug',
]);
const DESTRUCTIVE = new Set(['delete', 'delete_collection', 'eviction']);

/** How a change is toned: what gives somebody a hold on things, what destroys, what never came to be. */
export function toneOf(change: Change): 'risky' | 'destructive' | 'refused' | 'plain' {
  if (change.class === 'rejected' || change.class === 'failed_auth') return 'refused';
  if (RISKY.has(change.kind ?? '') || change.class === 'secret_read') return 'risky';
  return DESTRUCTIVE.has(change.kind ?? '') ? 'destructive' : 'plain';
}

/** A value of a field as text: strings as they are, everything else as JSON. */
export function valueText(value: unknown): string {
  if (value === undefined) return '';
  return typeof value === 'string' ? value : JSON.stringify(value, null, 2);
}
