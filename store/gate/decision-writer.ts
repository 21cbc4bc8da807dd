import type { Pool } from 'pg';
import type { GateOutcome, GateSettings } from '../../core/gate/decision.js';
import type { Subject } from '../../core/links/link.js';
import { formatMicros } from '../../core/timestamp.js';
import type { Verdict } from '../../core/verdict/verdict.js';

const FLUSH_MS = 100;
const MOST_AT_ONCE = 1000;
/** While Postgres is away, this many wait. The audit events say what was decided, too. */
const MOST_WAITING = 20_000;

/** A decision about one request, as it is kept. The subject is redacted, and holds no object. */
export interface Decision {
  id: string;
  clusterID: number;
  sourceID: number;
  requestUID: string;
  operation: string;
  subject: Subject;
  settings: GateSettings;
  outcome: GateOutcome;
  verdict: Verdict | undefined;
  detail: string;
  latencyMs: number;
}

/** Writes decisions behind the answers, several at a time, in order; what can't be written waits. */
export class DecisionWriter {
  readonly #pool: Pool;
  readonly #onDropped: (count: number) => void;
  readonly #onError: (error: unknown) => void;
  #waiting: Decision[] = [];
  #timer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> | undefined;

  constructor(pool: Pool, on: { dropped: (count: number) => void; error: (error: unknown) => void }) {
    this.#pool = pool;
    this.#onDropped = on.dropped;
    this.#onError = on.error;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  add(decision: Decision): void {
    if (this.#waiting.length >= MOST_WAITING) {
      this.#onDropped(1);
      return;
    }
    this.#waiting.push(decision);
    this.#arm();
  }

  /** Writes what waits, once more, and ends. */
  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#flush();
    clearTimeout(this.#timer);
    if (this.#waiting.length > 0) this.#onDropped(this.#waiting.length);
  }

  #arm(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.#flush();
    }, FLUSH_MS);
  }

  #flush(): Promise<void> {
    this.#flushing ??= this.#write().finally(() => {
      this.#flushing = undefined;
    });
    return this.#flushing;
  }

  async #write(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.slice(0, MOST_AT_ONCE);
      try {
        await appendDecisions(this.#pool, batch);
        this.#waiting.splice(0, batch.length);
      } catch (error) {
        this.#onError(error);
        this.#arm();
        return;
      }
    }
  }
}

async function appendDecisions(pool: Pool, decisions: readonly Decision[]): Promise<void> {
  const rows = decisions.map(({ subject, verdict, settings, ...decision }) => ({
    cluster_id: decision.clusterID,
    id: decision.id,
    at: formatMicros(subject.at),
    source_id: decision.sourceID,
    request_uid: decision.requestUID,
    mode: settings.mode,
    fail: settings.failure,
    deny_unknown: settings.denyUnknown,
    outcome: decision.outcome,
    operation: decision.operation,
    api_group: subject.key.apiGroup,
    resource: subject.key.resource,
    subresource: subject.subresource ?? null,
    namespace: subject.key.namespace,
    name: subject.key.name,
    username: subject.user.username,
    verdict: verdict?.verdict ?? null,
    reason: verdict?.reason ?? null,
    detail: decision.detail,
    environment: verdict?.environment ?? null,
    policy_version: verdict?.policyVersion ?? null,
    document: verdict && {
      commits: verdict.commits,
      evidence: verdict.evidence,
      hazards: verdict.hazards,
      ...(verdict.initiator && { initiator: verdict.initiator }),
    },
    latency_ms: decision.latencyMs,
  }));
  await pool.query(
    `insert into gate_decisions (cluster_id, id, at, source_id, request_uid, mode, fail, deny_unknown, outcome, operation,
            api_group, resource, subresource, namespace, name, username, verdict, reason, detail, environment,
            policy_version, document, latency_ms)
     select * from jsonb_to_recordset($1::jsonb) as t (cluster_id integer, id uuid, at timestamptz, source_id integer,
            request_uid text, mode text, fail text, deny_unknown boolean, outcome text, operation text, api_group text,
            resource text, subresource text, namespace text, name text, username text, verdict verdict_name, reason text,
            detail text, environment text, policy_version text, document jsonb, latency_ms real)
     on conflict (cluster_id, id) do nothing`,
    [JSON.stringify(rows).replaceAll('\\u0000', '\\ufffd')],
  );
}
