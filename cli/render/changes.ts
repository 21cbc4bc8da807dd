import type { Colors } from './colors.js';
import type { FieldChange } from './diff.js';
import { type Column, type Layout, layOut, renderHead, renderRows } from './table.js';
import { age, clock } from './text.js';
import { type Judged, judgedOf, verdictColumns } from './verdicts.js';

/** The part of the API's change that the terminal shows. */
export interface Change {
  id: string;
  seq: string;
  at: string;
  cluster: string;
  class: string;
  kind?: string;
  outcome?: string;
  verb: string;
  patchType?: string;
  code?: number;
  object: {
    group: string;
    resource: string;
    namespace?: string;
    name?: string;
    subresource?: string;
    text: string;
  };
  actor: {
    username: string;
    groups?: string[];
    serviceAccount?: { namespace: string; name: string };
    pod?: { name: string };
    impersonatedUser?: { username: string };
  };
  tool: { name: string; version?: string };
  sourceIPs?: string[];
  summary: string;
  flags: string[];
  diff?: FieldChange[];
  certainty?: { before?: string; after?: string; summary?: string };
  resourceVersion?: string;
  auditID: string;
  link?: { rule: string; strength: string; sources: Source[] };
  approval?: { approvers: string[]; pullRequests: Array<{ number: number; url: string; title: string }> };
  verdict?: ShortVerdict;
  attribution?: {
    state: string;
    rule: string;
    reason?: string;
    root?: { text: string };
    trigger?: { id: string; at: string; actor?: string; object?: { text: string }; summary?: string };
  };
}

export interface Source {
  repository: string;
  revision: string;
  sha?: string;
}

export interface ShortVerdict {
  verdict: string;
  reason?: string;
  environment: string;
  final: boolean;
  root?: { changeID: string; verdict?: string; reason?: string };
}

export interface View {
  width: number;
  colors: Colors;
  /** For what goes to stderr, which may be a terminal while stdout is a file. */
  errorColors: Colors;
  now: number;
  utc: boolean;
  wide: boolean;
}

export function actorText(change: Change): string {
  const name = change.actor.username || 'unresolved';
  return change.actor.impersonatedUser ? `${name} as ${change.actor.impersonatedUser.username}` : name;
}

export function objectText(change: Change): string {
  const { resource, namespace, name } = change.object;
  const place = namespace ? `${namespace} ${resource}` : resource;
  const object = name ? `${place}/${name}` : place;
  // A change's kind says what of the object it is about; what changed nothing has none.
  return change.kind === undefined && change.object.subresource
    ? `${object} (${change.object.subresource})`
    : object;
}

const RISKY = new Set([
  'rbac_grant',
  'exec',
  'attach',
  'port_forward',
  'debug',
  'delete',
  'delete_collection',
  'token_request',
]);

/** The columns of who changed what; those of verdicts where there is anything to show. */
function columnsOf(view: View, judged: Judged): Column<Change>[] {
  const { colors } = view;
  const columns: Column<Change>[] = [
    {
      head: 'WHEN',
      value: (row) =>
        view.wide
          ? clock(row.at, view.utc)
          : `${clock(row.at, view.utc).slice(5)} (${age(row.at, view.now)})`,
      short: (row) => clock(row.at, view.utc).slice(5),
      paint: (text) => colors.dim(text),
    },
    {
      head: 'ACTOR',
      value: actorText,
      short: (row) => actorText(row).replaceAll(/\bsystem:serviceaccount(?=:)/g, '…'),
      most: 40,
      paint: (text) => colors.cyan(text),
    },
    { head: 'VIA', value: (row) => row.tool.name, optional: true, paint: (text) => colors.dim(text) },
    {
      head: 'DID',
      value: didText,
      paint: (text, row) =>
        RISKY.has(row.kind ?? '') ? colors.yellow(text) : row.kind ? text : colors.dim(text),
    },
    { head: 'OBJECT', value: objectText, most: 44 },
    ...verdictColumns(view, judged),
    { head: 'WHAT', value: whatText, flexible: true },
  ];
  if (view.wide) {
    columns.splice(1, 0, { head: 'CLUSTER', value: (row) => row.cluster });
    columns.push({ head: 'ID', value: (row) => row.id });
  }
  return columns;
}

/** Who changed what: one row each, and the cause where something else set it off. */
export function renderChanges(changes: Change[], view: View): string {
  return new ChangeTable(judgedOf(changes)).render(changes, view);
}

/** A table that grows at its end: its head is written once, and its columns only ever widen. */
export class ChangeTable {
  #layout: Layout<Change> | undefined;
  readonly #judged: Judged;

  /** Verdicts come a little after changes: whoever follows changes as they come leaves them out. */
  constructor(judged: Judged = { commit: false, approval: false, verdict: false }) {
    this.#judged = judged;
  }

  render(changes: Change[], view: View): string {
    const first = this.#layout === undefined;
    const width = view.wide ? Number.POSITIVE_INFINITY : view.width;
    this.#layout = layOut(columnsOf(view, this.#judged), changes, width, this.#layout);
    return (
      (first ? renderHead(this.#layout, view.colors) : '') +
      renderRows(this.#layout, changes, view.colors, causeText)
    );
  }
}

export function didText(change: Change): string {
  return (change.kind ?? `${change.class} ${change.verb}`).replaceAll('_', ' ');
}

function whatText(change: Change): string {
  const marks: string[] = [];
  if (change.certainty?.summary === 'inferred') marks.push('inferred');
  if (change.flags.includes('generation_gap')) marks.push('some of it may be another’s doing');
  if (change.flags.includes('audit_id_reused')) marks.push('auditID reused');
  if (change.outcome === 'unknown') marks.push('outcome unknown');
  return marks.length > 0 ? `${change.summary} [${marks.join('; ')}]` : change.summary;
}

export function causeText(change: Change): string | undefined {
  const { attribution } = change;
  if (!attribution) return undefined;
  if (attribution.state === 'unresolved') return `unresolved: ${attribution.reason ?? 'no cause was found'}`;
  const { trigger } = attribution;
  if (trigger)
    return `because ${trigger.actor ?? 'someone'}: ${trigger.object?.text ?? ''} ${trigger.summary ?? ''}`.trim();
  return attribution.root ? `for ${attribution.root.text}` : undefined;
}
