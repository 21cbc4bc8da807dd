import type { AlertNotice } from '../../core/alerts/payload.js';
import type { Alerts } from '../../core/alerts/read-alerts.js';
import {
  countDue,
  type DueDelivery,
  findDueDeliveries,
  postponeReceiver,
  recordAttempt,
} from '../../store/alerts/deliveries.js';
import type { CredentialPlaces } from '../credentials.js';
import type { Job, JobContext } from '../job.js';
import type { AlertMetrics } from './metrics.js';
import { type Sent, send } from './send.js';

/** So many alerts a receiver is told of in one run; the next run comes soon. */
const MOST_AT_ONCE = 50;
const FIRST_PAUSE_SECONDS = 5;
const LONGEST_PAUSE_SECONDS = 300;
const MOST_PATIENCE_SECONDS = 3600;
/** After so long nobody needs to be told any more; the list of alerts has it. */
const GIVE_UP_MS = 3 * 86_400_000;

export interface DeliverMeans {
  alerts: () => Alerts;
  credentials: CredentialPlaces;
  metrics: AlertMetrics;
  /** The page's base URL: its port may be known only once it listens. */
  pageURL: () => string;
}

/**
 * Tells receivers of alerts, each at least once: an attempt is recorded after it was made, so that one which broke off in
 * between is made again, under the same id. What fails is tried again with growing pauses.
 */
export function deliverAlertsJob(means: DeliverMeans): Job {
  return {
    name: 'deliver-alerts',
    schedule: '*/5 * * * * *',
    async runOnce(context) {
      const due = await findDueDeliveries(context.client, context.now(), MOST_AT_ONCE);
      const byReceiver = new Map<string, DueDelivery[]>();
      for (const one of due) byReceiver.set(one.receiver, [...(byReceiver.get(one.receiver) ?? []), one]);
      // A receiver that is slow must not keep the others waiting.
      const counts = await Promise.all(
        [...byReceiver].map(([receiver, deliveries]) => tell(context, means, receiver, deliveries)),
      );
      await measure(context, means.metrics);
      return { rows: counts.reduce((sum, count) => sum + count, 0) };
    },
  };
}

/** Statements of several receivers share the connection, so that each must stand for itself: no transaction is opened. */
async function tell(
  { client, now, signal, log }: JobContext,
  means: DeliverMeans,
  name: string,
  deliveries: readonly DueDelivery[],
): Promise<number> {
  const receiver = means.alerts().receivers.find((one) => one.name === name);
  let delivered = 0;
  for (const delivery of deliveries) {
    if (signal.aborted) break;
    const startedAt = now();
    const sent: Sent = receiver
      ? await send(receiver, noticeOf(delivery, means.pageURL()), means.credentials)
      : {
          status: undefined,
          error: `the file of alerts has no receiver ${name}`,
          unreachable: false,
          retryAfter: undefined,
        };
    const at = now();
    const tookMs = at.getTime() - startedAt.getTime();
    const nextAt = sent.error === undefined ? undefined : nextTry(delivery, sent, at);
    await recordAttempt(client, delivery, { at, tookMs, status: sent.status, error: sent.error, nextAt });
    const outcome = sent.error === undefined ? 'delivered' : nextAt ? 'failed' : 'given_up';
    means.metrics.attempts.inc({ receiver: name, outcome });
    means.metrics.latency.observe({ receiver: name }, tookMs / 1000);
    if (sent.error === undefined) delivered++;
    else
      log.warn(
        {
          receiver: name,
          alert: delivery.alert_id,
          notice: delivery.notice,
          attempt: delivery.attempts + 1,
          outcome,
          error: sent.error,
        },
        'an alert was not delivered',
      );
    if (sent.unreachable && nextAt) {
      await postponeReceiver(client, name, nextAt);
      break;
    }
  }
  return delivered;
}

function nextTry(delivery: DueDelivery, sent: Sent, at: Date): Date | undefined {
  if (at.getTime() - Date.parse(delivery.ended_at ?? delivery.raised_at) > GIVE_UP_MS) return undefined;
  const pause = Math.min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** delivery.attempts);
  const asked = Math.min(sent.retryAfter ?? 0, MOST_PATIENCE_SECONDS);
  // Spread, so that receivers that failed together are not tried together.
  return new Date(at.getTime() + Math.max(asked, pause * (0.8 + Math.random() * 0.4)) * 1000);
}

function noticeOf(delivery: DueDelivery, pageURL: string): AlertNotice {
  const { cluster_id, alert_id, receiver, change_id, ended_at } = delivery;
  const place = `${cluster_id}-${alert_id}-${receiver}`;
  return {
    id: ended_at === null ? `alert-${place}` : `alert-end-${place}`,
    raisedID: `alert-${place}`,
    endedAt: ended_at,
    endReason: delivery.end_reason,
    rule: delivery.rule,
    title: delivery.title,
    severity: delivery.severity,
    subject: delivery.subject,
    cluster: delivery.cluster,
    namespace: delivery.namespace,
    object: delivery.object,
    username: delivery.username,
    message: delivery.message,
    at: delivery.first_at,
    raisedAt: delivery.raised_at,
    matches: delivery.matches,
    changeID: change_id,
    url: `${pageURL}${change_id === null ? '/alerts' : `/changes/${change_id}`}`,
  };
}

async function measure({ client, now }: JobContext, metrics: AlertMetrics): Promise<void> {
  const counts = await countDue(client);
  metrics.due.reset();
  for (const { receiver, due } of counts) metrics.due.set({ receiver }, due);
  const oldest = counts.map((one) => Date.parse(one.oldest)).sort((a, b) => a - b)[0];
  metrics.oldestDue.set(oldest === undefined ? 0 : Math.max(0, (now().getTime() - oldest) / 1000));
}
