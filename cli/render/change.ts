import { actorText, type Change, causeText, didText, objectText, type View } from './changes.js';
import { renderDiff } from './diff.js';
import { age, clock, safe } from './text.js';
import { renderVerdicts, type VerdictDetail } from './verdicts.js';

interface GateItem {
  id: string;
  outcome: string;
  mode: string;
  verdict: string | null;
  reason: string | null;
  detail: string;
  event: { agrees: boolean } | null;
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
    ['Pod', podText(change)],
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
    ['Mutated by', mutatedBy(change.annotations ?? {}).join(', ') || undefined],
    ['Behind it', behindText(change.people ?? [])],
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

/** Who else was behind it, and whose names those are; a user alone that nobody declared is told by `Who`. */
function behindText(people: NonNullable<Detail['people']>): string | undefined {
  if (people.every(({ role, person }) => role === 'user' && person === undefined)) return undefined;
  return people
    .map(({ role, name, controller, person }) => {
      const account = controller === undefined ? name : `${name} (${controller})`;
      const whose = person === undefined ? 'nobody known' : (person.name ?? person.id);
      return `${role.replaceAll('_', ' ')} ${account} = ${whose}`;
    })
    .join('; ');
}

/** The pod whose token was used, where the apiserver noted it. */
function podText({ actor: { pod, serviceAccount } }: Change): string | undefined {
  return pod && [serviceAccount?.namespace, pod.name].filter(Boolean).join('/');
}

const MUTATION = /^mutation\.webhook\.admission\.k8s\.io\//;

/** The admission webhooks that altered it: k8s.io/apiserver/pkg/admission/plugin/webhook/mutating/dispatcher.go. */
function mutatedBy(annotations: Record<string, string>): string[] {
  const webhooks = Object.entries(annotations).flatMap(([key, text]) => {
    if (!MUTATION.test(key)) return [];
    try {
      const { configuration, webhook, mutated } = JSON.parse(text) as Record<string, unknown>;
      return mutated === true ? [`${configuration}/${webhook}`] : [];
    } catch {
      return [];
    }
  });
  return [...new Set(webhooks)];
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
  annotations?: Record<string, string>;
  decision?: { decision?: string; reason?: string };
  consequences?: Change[];
  gate?: GateItem[];
  people?: Array<{
    role: string;
    name: string;
    controller?: string;
    person?: { id: string; name?: string };
  }>;
  sources?: Array<{
    source: string;
    kind: string;
    agreement: string;
    stages: Array<{ stage: string; object?: { bucket: string; key: string } }>;
  }>;
}

/** What the gate said before it was carried out. */
function gateText({ outcome, mode, verdict, reason, detail, id, event }: GateItem): string {
  const said = verdict === null ? 'undecided' : reason === null ? verdict : `${verdict}(${reason})`;
  const doubt = event?.agrees === false ? ' [the event is of another user or object]' : '';
  return `${outcome} (${mode}): ${said}: ${detail}; decision ${id}${doubt}`;
}
