import type { Colors } from './colors.js';
import { type Column, type Layout, layOut, renderHead, renderRows } from './table.js';
import { age, clock, safe } from './text.js';
import { type Judged, judgedOf, renderVerdicts, type VerdictDetail, verdictColumns } from './verdicts.js';

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
  actor: { username: string; groups?: string[]; impersonatedUser?: { username: string } };
  tool: { name: string; version?: string };
  sourceIPs?: string[];
  summary: string;
  flags: string[];
  diff?: FieldChange[];
  certainty?: { before?: string; after?: string };
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

export interface FieldChange {
  path: string;
  op: string;
  before?: unknown;
  after?: unknown;
  certainty: string;
}

interface GateItem {
  id: string;
  outcome: string;
  mode: string;
  verdict: string | null;
  reason: string | null;
  detail: string;
  event: { agrees: boolean } | null;
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
  return name ? `${place}/${name}` : place;
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

function didText(change: Change): string {
  return (change.kind ?? `${change.class} ${change.verb}`).replaceAll('_', ' ');
}

function whatText(change: Change): string {
  const marks: string[] = [];
  if (change.flags.includes('generation_gap')) marks.push('some of it may be another’s doing');
  if (change.flags.includes('audit_id_reused')) marks.push('auditID reused');
  if (change.outcome === 'unknown') marks.push('outcome unknown');
  return marks.length > 0 ? `${change.summary} [${marks.join('; ')}]` : change.summary;
}

function causeText(change: Change): string | undefined {
  const { attribution } = change;
  if (!attribution) return undefined;
  if (attribution.state === 'unresolved') return `unresolved: ${attribution.reason ?? 'no cause was found'}`;
  const { trigger } = attribution;
  if (trigger)
    return `because ${trigger.actor ?? 'someone'}: ${trigger.object?.text ?? ''} ${trigger.summary ?? ''}`.trim();
  return attribution.root ? `for ${attribution.root.text}` : undefined;
}

/** A change in full. */
export function renderChange(change: Change & Detail, view: View): string {
  const { colors } = view;
  const rows: Array<[string, string | undefined]> = [
    ['Change', change.id],
    [
      'When',
      `${clock(change.at, view.utc)}${view.utc ? 'Z' : ''} (${age(change.at, view.now)} ago)${change.latencyMs === undefined ? '' : `, took ${change.latencyMs} ms`}`,
    ],
    [
      'Who',
      `${actorText(change)}${change.actor.groups?.length ? `  (${change.actor.groups.join(', ')})` : ''}`,
    ],
    [
      'Did',
      `${didText(change)}  (${[change.verb, change.patchType, change.code].filter(Boolean).join(', ')}; ${change.outcome ?? change.class})`,
    ],
    [
      'Object',
      `${change.object.text}${change.object.subresource ? ` (${change.object.subresource})` : ''} in ${change.cluster}`,
    ],
    [
      'With',
      `${[change.tool.name, change.tool.version].filter(Boolean).join(' ')}${change.sourceIPs ? ` from ${change.sourceIPs.join(', ')}` : ''}`,
    ],
    ['Allowed by', change.decision?.reason],
    ...(change.gate ?? []).map((item): [string, string] => ['Gate', gateText(item)]),
    ['Because', causeText(change)],
    [
      'Known',
      change.certainty
        ? `before: ${change.certainty.before ?? 'unknown'}, after: ${change.certainty.after ?? 'unknown'}`
        : undefined,
    ],
    ['Flags', change.flags.length > 0 ? change.flags.join(', ') : undefined],
    ['Told by', change.sources?.map(toldText).join('; ') || undefined],
    ['Audit-ID', change.auditID],
  ];
  const lines = rows.flatMap(([name, value]) =>
    value === undefined ? [] : [`${colors.bold(`${name}:`.padEnd(12))}${safe(value)}`],
  );
  lines.push('', safe(change.summary));
  if (change.diff && change.diff.length > 0) lines.push('', renderDiff(change.diff, colors).trimEnd());
  lines.push(...renderVerdicts(change, view));
  if (change.consequences && change.consequences.length > 0) {
    lines.push('', colors.bold('Set off:'));
    for (const item of change.consequences)
      lines.push(
        safe(
          `  ${clock(item.at, view.utc).slice(11)} ${didText(item)} ${objectText(item)} by ${actorText(item)}`,
        ),
      );
  }
  return `${lines.join('\n')}\n`;
}

const AGREEMENT_TEXT: Record<string, string> = {
  equal: ', the same as others',
  conflicting: ', with copies that differ (see `whochanged findings`)',
};

function toldText({ source, kind, stages, agreement }: NonNullable<Detail['sources']>[number]): string {
  const names = [...new Set(stages.map(({ stage }) => stage))].join(', ');
  const objects = [...new Set(stages.flatMap(({ object }) => (object ? [objectName(object)] : [])))];
  const where = objects.length > 0 ? ` in ${objects.join(', ')}` : '';
  return `${source} (${kind}): ${names}${where}${AGREEMENT_TEXT[agreement] ?? ''}`;
}

function objectName({ bucket, key }: { bucket: string; key: string }): string {
  return bucket === '' ? key : `s3://${bucket}/${key}`;
}

export interface Detail extends VerdictDetail {
  latencyMs?: number;
  decision?: { decision?: string; reason?: string };
  consequences?: Change[];
  gate?: GateItem[];
  sources?: Array<{
    source: string;
    kind: string;
    agreement: string;
    stages: Array<{ stage: string; object?: { bucket: string; key: string } }>;
  }>;
}

/** Field changes as a unified diff would show them; what is not certain says so. */
export function renderDiff(diff: FieldChange[], colors: Colors): string {
  const lines: string[] = [];
  for (const change of diff) {
    const doubt = change.certainty === 'exact' ? '' : colors.dim(`  # ${change.certainty}`);
    lines.push(colors.bold(safe(change.path)) + doubt);
    if (change.op === 'reorder') {
      lines.push(`  order: ${safe(valueText(change.before))}`, `     now: ${safe(valueText(change.after))}`);
      continue;
    }
    if ('before' in change) for (const line of linesOf(change.before)) lines.push(colors.red(`- ${line}`));
    if ('after' in change) for (const line of linesOf(change.after)) lines.push(colors.green(`+ ${line}`));
  }
  return lines.length > 0 ? `${lines.join('\n')}\n` : '';
}

function linesOf(value: unknown): string[] {
  const text = typeof value === 'string' ? value : JSON.stringify(value, null, 2);
  return text.split('\n').map(safe);
}

function valueText(value: unknown): string {
  return Array.isArray(value) ? value.join(', ') : JSON.stringify(value);
}

/** What the gate said before it was carried out. */
function gateText({ outcome, mode, verdict, reason, detail, id, event }: GateItem): string {
  const said = verdict === null ? 'undecided' : reason === null ? verdict : `${verdict}(${reason})`;
  const doubt = event?.agrees === false ? ' [the event is of another user or object]' : '';
  return `${outcome} (${mode}): ${said}: ${detail}; decision ${id}${doubt}`;
}
