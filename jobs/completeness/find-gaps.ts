import type { ClientBase } from 'pg';
import { findDowntimes, mergeSpans, outlastsWebhook, type Span } from '../../core/completeness/downtime.js';
import { GAP_CAUSES } from '../../core/completeness/gap.js';
import { findClusterIDs, moveCursor, readCursor } from '../../store/attribution.js';
import { findSeenCanaries, missCanaries } from '../../store/completeness/canaries.js';
import {
  appendTruncationGaps,
  closeDisprovenGaps,
  type FoundGap,
  reconcileGaps,
  reconcileGenerationGaps,
  reconcileQuarantineGaps,
} from '../../store/completeness/gaps.js';
import { findMeasures } from '../../store/completeness/measures.js';
import { findUnreadObjects } from '../../store/completeness/unread-objects.js';
import {
  findRefusals,
  findUptimes,
  findWebhookSources,
  type WebhookSource,
} from '../../store/completeness/uptimes.js';
import type { Job, JobContext } from '../job.js';
import { evaluateSamples, SETTLE_MS } from './evaluate-samples.js';
import type { CompletenessMetrics } from './metrics.js';

const NAME = 'find-gaps';
/** A downtime that ended longer ago than this has been dealt with. */
const LOOK_BACK_MS = 2 * 86_400_000;
/** Receivers tell every 10 seconds that they are up; one that is late is not yet down. */
const HEARTBEAT_GRACE_MICROS = 30_000_000;
/** Attempts at one batch follow each other within this: 41 seconds of waiting and 30 of trying. */
const SAME_REFUSAL_MICROS = 75_000_000;

/** Looks for what is missing, by every evidence there is, and looks again at what was missing before. */
export function findGapsJob(metrics: CompletenessMetrics): Job {
  return {
    name: NAME,
    schedule: '*/20 * * * * *',
    async runOnce(context) {
      const { client, now, signal } = context;
      let rows = 0;
      const downtimes = await findReceiverDowntimes(client, now());
      const refusals = await findRefusals(client, new Date(now().getTime() - LOOK_BACK_MS));
      const sources = await findWebhookSources(client);
      for (const clusterID of await findClusterIDs(client)) {
        if (signal.aborted) break;
        rows += await evaluateSamples(client, clusterID, now());
        rows += await checkCanaries(context, clusterID, metrics);
        rows += await reconcileGenerationGaps(client, clusterID, now());
        rows += await reconcileQuarantineGaps(client, clusterID, now());
        await findTruncations(client, clusterID, now());
        await reconcileGaps(
          client,
          clusterID,
          'object_unread',
          await findUnreadObjects(client, clusterID, now()),
          { since: 0 },
          'read',
          now(),
        );
        const own = sources.filter((source) => source.clusterID === clusterID);
        const scope = { since: (now().getTime() - LOOK_BACK_MS) * 1000 };
        await reconcileGaps(
          client,
          clusterID,
          'receiver_down',
          downtimeGaps(downtimes, own),
          scope,
          'receiver_was_up',
          now(),
        );
        await reconcileGaps(
          client,
          clusterID,
          'batches_refused',
          own.flatMap((source) => refusalGaps(source, refusals)),
          scope,
          're_evaluated',
          now(),
        );
        rows += await closeDisprovenGaps(client, clusterID, now());
      }
      await measure(client, now(), downtimes, metrics);
      return { rows };
    },
  };
}

async function checkCanaries(
  { client, now }: JobContext,
  clusterID: number,
  metrics: CompletenessMetrics,
): Promise<number> {
  const seen = await findSeenCanaries(client, clusterID, now());
  for (const { source, latencySeconds } of seen) metrics.canaryLatency.observe({ source }, latencySeconds);
  return seen.length + (await missCanaries(client, clusterID, new Date(now().getTime() - SETTLE_MS), now()));
}

/** When no receiver was up, lately; also when none is now. */
async function findReceiverDowntimes(client: ClientBase, now: Date): Promise<Span[]> {
  const until = now.getTime() * 1000;
  const uptimes = await findUptimes(client, new Date(now.getTime() - LOOK_BACK_MS));
  const last = Math.max(...uptimes.map((span) => span.until));
  if (uptimes.length > 0 && until - last > HEARTBEAT_GRACE_MICROS) uptimes.push({ since: until, until });
  return findDowntimes(uptimes);
}

function downtimeGaps(downtimes: readonly Span[], sources: readonly WebhookSource[]): FoundGap[] {
  return downtimes.filter(outlastsWebhook).flatMap((downtime) =>
    sources
      .filter((source) => source.since < downtime.until && source.until > downtime.since)
      .map(({ sourceID }) => ({
        ...downtime,
        sourceID,
        subject: `since ${downtime.since}`,
        evidence: { seconds: Math.round((downtime.until - downtime.since) / 1e6) },
      })),
  );
}

function refusalGaps(
  { sourceID }: WebhookSource,
  refusals: Awaited<ReturnType<typeof findRefusals>>,
): FoundGap[] {
  const own = refusals.filter((refusal) => refusal.sourceID === sourceID);
  return mergeSpans(own, SAME_REFUSAL_MICROS)
    .filter(outlastsWebhook)
    .map((span) => {
      const within = own.filter((refusal) => refusal.since >= span.since && refusal.until <= span.until);
      return {
        ...span,
        sourceID,
        subject: `since ${span.since}`,
        evidence: {
          batches: within.reduce((sum, refusal) => sum + refusal.batches, 0),
          codes: [...new Set(within.map((refusal) => refusal.code))],
        },
      };
    });
}

/** The cursor moves with the gaps: what was counted once is not counted again. */
async function findTruncations(client: ClientBase, clusterID: number, now: Date): Promise<void> {
  await client.query('begin');
  try {
    const last = await appendTruncationGaps(
      client,
      clusterID,
      await readCursor(client, NAME, clusterID),
      now,
    );
    if (last !== undefined) await moveCursor(client, NAME, clusterID, last);
    await client.query('commit');
  } catch (error) {
    await client.query('rollback').catch(() => undefined);
    throw error;
  }
}

async function measure(
  client: ClientBase,
  now: Date,
  downtimes: readonly Span[],
  metrics: CompletenessMetrics,
): Promise<void> {
  const day = { since: (now.getTime() - 86_400_000) * 1000, until: now.getTime() * 1000 };
  const { gaps, complete } = await findMeasures(client, new Date(day.since / 1000), now);
  for (const cause of GAP_CAUSES) metrics.openGaps.set({ cause }, gaps.get(cause) ?? 0);
  metrics.completeRatio.reset();
  for (const { source, ratio } of complete) metrics.completeRatio.set({ source }, ratio);
  metrics.receiverDowntime.set(
    downtimes.reduce(
      (sum, span) =>
        sum + Math.max(0, Math.min(span.until, day.until) - Math.max(span.since, day.since)) / 1e6,
      0,
    ),
  );
}
