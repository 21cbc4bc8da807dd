/** A stretch of time, half-open, in microseconds. */
export interface Span {
  since: number;
  until: number;
}

/**
 * How long a failing batch is tried at the least. The audit webhook makes 5 attempts, and waits 10, 15, 22.5 and 33.75
 * seconds between them, each up to a fifth longer (k8s.io/apiserver pkg/util/webhook; --audit-webhook-initial-backoff
 * 10s). Then it drops the batch. What was away for less may have been waited for; what was away for longer was not.
 */
export const WEBHOOK_PATIENCE_MICROS = 81_250_000;

/** Spans as disjoint ones in order; those that touch or lie less than `within` apart become one. */
export function mergeSpans(spans: readonly Span[], within = 0): Span[] {
  const merged: Span[] = [];
  for (const span of [...spans].sort((a, b) => a.since - b.since)) {
    const last = merged.at(-1);
    if (last && span.since <= last.until + within) last.until = Math.max(last.until, span.until);
    else merged.push({ ...span });
  }
  return merged;
}

/**
 * When nothing received, between the first and the last time that something did. Before the first nothing is known, and
 * after the last it is still going on, or about to be told.
 */
export function findDowntimes(uptimes: readonly Span[]): Span[] {
  const up = mergeSpans(uptimes);
  return up.slice(1).map((span, i) => ({ since: up[i]!.until, until: span.since }));
}

/** Whether the apiservers will have dropped what they had to send meanwhile. */
export function outlastsWebhook({ since, until }: Span): boolean {
  return until - since >= WEBHOOK_PATIENCE_MICROS;
}
