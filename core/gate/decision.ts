import { WhochangedError } from '../errors.js';
import { FAILING, type Verdict, type VerdictName, verdictText } from '../verdict/verdict.js';

/**
 * - `audit`: admits everything, and records what it would have said
 * - `warn`: admits everything, with warnings to whoever asked
 * - `enforce`: refuses what fails
 */
export const GATE_MODES = ['audit', 'warn', 'enforce'] as const;
export type GateMode = (typeof GATE_MODES)[number];

/** How one webhook is set, by the words in its path. */
export interface GateSettings {
  mode: GateMode;
  /** What is done when nothing can be said in time. */
  failure: 'open' | 'closed';
  /** Whether `enforce` refuses what is unknown. */
  denyUnknown: boolean;
}

export const GATE_OUTCOMES = ['admitted', 'warned', 'denied', 'failed_open', 'failed_closed'] as const;
export type GateOutcome = (typeof GATE_OUTCOMES)[number];

/** The name of our webhook, which the apiserver puts before the keys of its audit annotations. */
export const WEBHOOK_NAME = 'gate.whochanged.io';
/** The annotation of an audit event that names the decision about its request. */
export const DECISION_ANNOTATION = `${WEBHOOK_NAME}/decision`;

/** The apiserver cuts warnings at 256 characters where there is much (k8s.io/apiserver warning handler: 4096 in all). */
const MAX_WARNING = 250;

/** The path of a webhook that is set so, after the cluster's or source's name. */
export function gatePath(settings: GateSettings): string {
  return [
    settings.mode,
    `fail-${settings.failure}`,
    settings.denyUnknown ? 'deny-unknown' : 'admit-unknown',
  ].join('/');
}

/**
 * Reads what gatePath writes; what is left out is the harmless choice.
 * @throws WhochangedError `invalid_request` for any other word
 */
export function readGatePath(path: string): GateSettings {
  const settings: GateSettings = { mode: 'audit', failure: 'open', denyUnknown: false };
  for (const word of path.split('/').filter(Boolean)) {
    const mode = GATE_MODES.find((known) => known === word);
    if (mode) settings.mode = mode;
    else if (word === 'fail-open' || word === 'fail-closed')
      settings.failure = word === 'fail-open' ? 'open' : 'closed';
    else if (word === 'deny-unknown' || word === 'admit-unknown')
      settings.denyUnknown = word === 'deny-unknown';
    else
      throw new WhochangedError('invalid_request', `the path says "${word.slice(0, 40)}"`, {
        hint: `use ${GATE_MODES.join(', ')}, fail-open, fail-closed, deny-unknown, admit-unknown; \`whochanged gate manifest\` writes it`,
      });
  }
  return settings;
}

/** Whether a verdict is one that a pipeline may go on with. */
export function passes(verdict: { verdict: VerdictName; reason?: string | undefined }): boolean {
  if (verdict.verdict === 'break-glass') return verdict.reason !== 'overdue';
  return !FAILING.includes(verdict.verdict);
}

/** What the settings make of a verdict. */
export function outcomeOf(verdict: Verdict, settings: GateSettings): GateOutcome {
  if (passes(verdict) || settings.mode === 'audit') return 'admitted';
  if (settings.mode === 'warn') return 'warned';
  return verdict.verdict === 'unknown' && !settings.denyUnknown ? 'warned' : 'denied';
}

/** What is answered when nothing could be said in time. Audit and warn never refuse. */
export function failureOutcome(settings: GateSettings): GateOutcome {
  return settings.mode === 'enforce' && settings.failure === 'closed' ? 'failed_closed' : 'failed_open';
}

export interface GateAnswer {
  /** Undefined: a dry run, of which nothing is kept. */
  decisionID: string | undefined;
  outcome: GateOutcome;
  settings: GateSettings;
  /** Undefined: it couldn't be told in time. */
  verdict: Verdict | undefined;
  detail: string;
}

/** The AdmissionReview to answer with (k8s.io/api/admission/v1, AdmissionResponse). */
export function admissionReview(uid: string, answer: GateAnswer): object {
  const { outcome, verdict, settings, detail } = answer;
  const allowed = outcome !== 'denied' && outcome !== 'failed_closed';
  const said = verdict ? verdictText(verdict) : 'undecided';
  const message = `whochanged: ${said}: ${detail}`;
  const warns = outcome === 'warned' || (outcome === 'failed_open' && settings.mode !== 'audit');
  return {
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    response: {
      uid,
      allowed,
      ...(!allowed && {
        status: { code: outcome === 'denied' ? 403 : 503, message, reason: 'Forbidden' },
      }),
      ...(warns && { warnings: [clip(message)] }),
      auditAnnotations: {
        ...(answer.decisionID !== undefined && { decision: answer.decisionID }),
        outcome: `${outcome} (${settings.mode})`,
        verdict: said,
        ...(verdict && { policy: verdict.policyVersion, environment: verdict.environment }),
      },
    },
  };
}

function clip(text: string): string {
  const line = text.replace(/\s+/g, ' ');
  return line.length <= MAX_WARNING ? line : `${line.slice(0, MAX_WARNING - 1)}…`;
}
