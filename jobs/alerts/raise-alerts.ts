import type { Alerts } from '../../core/alerts/read-alerts.js';
import type { AlertRule } from '../../core/alerts/rule.js';
import { RecentMap } from '../../core/recent.js';
import {
  alertCursor,
  beginAlerts,
  lastNumber,
  moveAlertCursor,
  nextRows,
} from '../../store/alerts/cursors.js';
import { findMatches, type MatchingMeans, RECENTLY_SEEN } from '../../store/alerts/find-matches.js';
import { recordMatches } from '../../store/alerts/record-alerts.js';
import { endStates, findGapMatches, findSilentSources } from '../../store/alerts/states.js';
import type { RowSubject } from '../../store/alerts/subjects.js';
import { findClusterIDs } from '../../store/attribution.js';
import type { BodyCache } from '../../store/body-cache.js';
import { openJobBodies } from '../body-cache.js';
import type { Job, JobContext } from '../job.js';
import { inTransaction } from '../transaction.js';
import type { AlertMetrics } from './metrics.js';

const BATCH = 1000;

export interface RaiseMeans {
  /** Asked at each run, since the file is read again when it changes. */
  alerts: () => Alerts;
  metrics: AlertMetrics;
  /** Called when there is something to deliver. */
  raised: () => void;
}

/**
 * Looks through what is new, events, changes and verdicts in the order of commit, and through gaps and sources as they
 * stand, and raises alerts. The cursor moves with the alerts in one transaction, so that nothing is alerted twice or not
 * at all, wherever a run breaks off.
 */
export function raiseAlertsJob(means: RaiseMeans, bodyCache: BodyCache = openJobBodies()): Job {
  const matching: MatchingMeans = { bodyCache, seen: new RecentMap(RECENTLY_SEEN) };
  return {
    name: 'raise-alerts',
    schedule: '*/5 * * * * *',
    async runOnce(context) {
      const { client, now, signal } = context;
      const alerts = means.alerts();
      const clusterIDs = await findClusterIDs(client);
      await inTransaction(client, () => beginAlerts(client, clusterIDs));
      const raised: string[] = [];
      let endings = 0;
      for (const clusterID of clusterIDs) {
        for (const subject of ['event', 'change', 'verdict'] as const) {
          if (signal.aborted) break;
          const rules = alerts.rules.filter(({ on }) => on === subject);
          raised.push(
            ...(await lookThrough(context, clusterID, subject, rules, alerts.maxAgeSeconds, matching)),
          );
        }
        if (signal.aborted) break;
        const states = await lookAtStates(context, clusterID, alerts);
        raised.push(...states.raised);
        endings += states.endings;
      }
      for (const rule of raised) means.metrics.raised.inc({ rule });
      means.metrics.rules.set(alerts.rules.length);
      means.metrics.unsupported.set(alerts.unsupported.length);
      means.metrics.lastLook.set(now().getTime() / 1000);
      if (raised.length + endings > 0) means.raised();
      return { rows: raised.length };
    },
  };
}

async function lookThrough(
  { client, now, signal }: JobContext,
  clusterID: number,
  subject: RowSubject,
  rules: readonly AlertRule[],
  maxAgeSeconds: number,
  matching: MatchingMeans,
): Promise<string[]> {
  const raised: string[] = [];
  let after = await alertCursor(client, clusterID, subject);
  const last = await lastNumber(client, clusterID, subject, after);
  if (last === undefined) return raised;
  if (rules.length === 0) {
    await moveAlertCursor(client, clusterID, subject, last);
    return raised;
  }
  const notBefore = new Date(now().getTime() - maxAgeSeconds * 1000).toISOString();
  while (BigInt(after) < BigInt(last) && !signal.aborted) {
    const { rows, end } = await nextRows(
      client,
      clusterID,
      subject,
      rules,
      { after, last, notBefore },
      BATCH,
    );
    const matches = await findMatches(client, clusterID, rows, rules, matching);
    await inTransaction(client, async () => {
      raised.push(...(await recordMatches(client, clusterID, matches)));
      await moveAlertCursor(client, clusterID, subject, end);
    });
    after = end;
  }
  return raised;
}

/** Gaps and sources are looked at as they are; that an alert was raised of one is known by its key. */
async function lookAtStates(
  context: JobContext,
  clusterID: number,
  alerts: Alerts,
): Promise<{ raised: string[]; endings: number }> {
  const { client, now } = context;
  const rulesOn = (on: AlertRule['on']) => alerts.rules.filter((rule) => rule.on === on);
  const span = {
    since: new Date(now().getTime() - alerts.maxAgeSeconds * 1000).toISOString(),
    until: new Date(now().getTime() + 60_000).toISOString(),
    all: false,
  };
  const matches = [
    ...(await findGapMatches(client, clusterID, rulesOn('gap'), span)),
    ...(await findSilentSources(client, clusterID, rulesOn('source'), now())),
  ];
  return inTransaction(client, async () => {
    const raised = await recordMatches(client, clusterID, matches);
    return { raised, endings: await endStates(client, clusterID, now()) };
  });
}
