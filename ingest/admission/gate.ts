import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import type { Redaction } from '../../core/accept.js';
import type { AdmissionRequest } from '../../core/gate/admission-review.js';
import { admissionSubject } from '../../core/gate/admission-subject.js';
import { failureOutcome, type GateAnswer, type GateSettings, outcomeOf } from '../../core/gate/decision.js';
import type { Verdict } from '../../core/verdict/verdict.js';
import type { DecisionWriter } from '../../store/gate/decision-writer.js';
import type { AdmissionJudge } from '../../store/gate/judge-admission.js';
import type { SourceCredentials } from '../../store/sources.js';
import type { AdmissionMetrics } from './metrics.js';

export interface GateParts {
  judge: AdmissionJudge;
  writer: DecisionWriter;
  redaction: Redaction;
  metrics: AdmissionMetrics;
  log: Logger;
  /** The longest that deciding may take; then it fails open or closed, as the webhook is set. */
  deadlineMs: number;
}

/** Decides about one request in time, and keeps what was decided, but for dry runs. */
export async function decide(
  request: AdmissionRequest,
  source: SourceCredentials,
  settings: GateSettings,
  parts: GateParts,
): Promise<GateAnswer> {
  const started = performance.now();
  const asked = admissionSubject(request, source.cluster, Date.now() * 1000, parts.redaction);
  let verdict: Verdict | undefined;
  let problem = '';
  try {
    verdict = await within(parts.deadlineMs, parts.judge.judge(asked, source.clusterID));
  } catch (error) {
    problem =
      error === LATE
        ? `nothing could be said within ${parts.deadlineMs} ms`
        : 'the database is away, or failed: nothing can be said';
    parts.log.warn({ err: error === LATE ? undefined : error, problem }, 'the gate could not decide');
  }
  const outcome = verdict ? outcomeOf(verdict, settings) : failureOutcome(settings);
  const detail = verdict?.detail ?? problem;
  const decisionID = request.dryRun ? undefined : randomUUID();
  const latencyMs = performance.now() - started;
  if (decisionID !== undefined) {
    parts.writer.add({
      id: decisionID,
      clusterID: source.clusterID,
      sourceID: source.sourceID,
      requestUID: request.uid,
      operation: request.operation,
      subject: asked.subject,
      settings,
      outcome,
      verdict,
      detail,
      latencyMs,
    });
    parts.metrics.waiting.set(parts.writer.waiting);
  }
  parts.metrics.requests.inc({ cluster: source.cluster, mode: settings.mode, outcome });
  parts.metrics.seconds.observe(latencyMs / 1000);
  return { decisionID, outcome, settings, verdict, detail };
}

const LATE = new Error('the deadline is over');

async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(LATE), ms);
  });
  // What comes too late is nobody's to hear.
  work.catch(() => undefined);
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
