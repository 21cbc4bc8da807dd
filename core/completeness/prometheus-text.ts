/**
 * Reads single counters out of the Prometheus text format 0.0.4
 * (prometheus.io/docs/instrumenting/exposition_formats): `name{label="value",...} number [timestamp]`.
 */
export interface TextSample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*/;
const LABEL = /\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\\n]|\\.)*)"\s*(,|(?=}))/y;

/** One line; undefined for a comment, an empty line, and what is not a sample. */
export function parseSampleLine(line: string): TextSample | undefined {
  const name = NAME.exec(line)?.[0];
  if (name === undefined) return undefined;
  let at = name.length;
  const labels: Record<string, string> = {};
  while (line[at] === ' ' || line[at] === '\t') at++;
  if (line[at] === '{') {
    at++;
    for (;;) {
      LABEL.lastIndex = at;
      const label = LABEL.exec(line);
      if (!label) break;
      labels[label[1]!] = unescapeLabel(label[2]!);
      at = LABEL.lastIndex;
    }
    while (line[at] === ' ') at++;
    if (line[at] !== '}') return undefined;
    at++;
  }
  const text = line
    .slice(at)
    .trim()
    .split(/[ \t]+/)[0]!;
  const value = numberOf(text);
  return value === undefined ? undefined : { name, labels, value };
}

function unescapeLabel(text: string): string {
  return text.replace(/\\(.)/g, (_, char: string) => (char === 'n' ? '\n' : char));
}

/** Go's ParseFloat as the format names it: decimal, exponent, NaN, +Inf, -Inf. */
function numberOf(text: string): number | undefined {
  if (/^[+-]?Inf$/i.test(text)) return text.startsWith('-') ? -Infinity : Infinity;
  if (/^NaN$/i.test(text)) return Number.NaN;
  return /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(text) ? Number(text) : undefined;
}

/** What an apiserver's /metrics says of auditing (k8s.io/apiserver/pkg/audit/metrics.go; all ALPHA). */
export interface AuditCounters {
  /** Events handed to the audit backend, all stages; after policy and omitStages, before anything can be dropped. */
  events: number;
  /** Events that a plugin failed on (buffered: its buffer was full; webhook: no attempt succeeded; truncate; log). */
  errors: Record<string, number>;
  /** Requests refused since auditing them failed: blocking-strict mode only. */
  rejected: number;
  /** process_start_time_seconds as microseconds since the epoch. */
  processStartedAt: number;
}

const EVENTS = 'apiserver_audit_event_total';
const ERRORS = 'apiserver_audit_error_total';
const REJECTED = 'apiserver_audit_requests_rejected_total';
const STARTED = 'process_start_time_seconds';

/** Takes an answer line by line and keeps only what is asked for, so that its size does not matter. */
export class AuditCountersReader {
  readonly #sums = new Map<string, number>();
  readonly #errors: Record<string, number> = {};

  take(line: string): void {
    if (!line.startsWith('apiserver_audit_') && !line.startsWith(STARTED)) return;
    const sample = parseSampleLine(line);
    if (!sample || ![EVENTS, ERRORS, REJECTED, STARTED].includes(sample.name)) return;
    const { name, labels, value } = sample;
    if (name !== ERRORS) return void this.#sums.set(name, (this.#sums.get(name) ?? 0) + value);
    const plugin = labels.plugin ?? '';
    this.#errors[plugin] = (this.#errors[plugin] ?? 0) + value;
  }

  /** The counters, or what is missing for them to mean anything. */
  result(): { counters: AuditCounters } | { missing: string } {
    const events = this.#sums.get(EVENTS);
    const started = this.#sums.get(STARTED);
    if (!isCount(events)) return { missing: EVENTS };
    if (started === undefined || !(started > 0)) return { missing: STARTED };
    const errors = Object.entries(this.#errors);
    if (!errors.every(([, value]) => isCount(value))) return { missing: ERRORS };
    const rejected = this.#sums.get(REJECTED) ?? 0;
    return {
      counters: {
        events,
        errors: this.#errors,
        rejected: isCount(rejected) ? rejected : 0,
        processStartedAt: Math.round(started * 1e6),
      },
    };
  }
}

function isCount(value: number | undefined): value is number {
  return value !== undefined && Number.isSafeInteger(value) && value >= 0;
}
