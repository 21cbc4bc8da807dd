import { Counter, Gauge, type Registry } from 'prom-client';
import { canLock, copyCheckpoint, recordCopy } from '../store/log/checkpoint-copies.js';
import { findLatestCheckpoint } from '../store/log/checkpoints.js';
import type { S3Clients } from '../store/s3-client.js';
import { placeText, type S3Place } from '../store/s3-place.js';
import type { Job } from './job.js';

const DAY_MS = 86_400_000;

export interface CheckpointCopyMetrics {
  lastCopy: Gauge;
  locked: Gauge;
  failures: Counter;
}

export function createCheckpointCopyMetrics(registry: Registry): CheckpointCopyMetrics {
  const registers = [registry];
  return {
    lastCopy: new Gauge({
      name: 'whochanged_checkpoint_copied_timestamp_seconds',
      help: 'When the newest checkpoint that was copied out of the database was signed, Unix time',
      registers,
    }),
    locked: new Gauge({
      name: 'whochanged_checkpoint_copies_locked',
      help: '1 when copies of checkpoints are under Object Lock',
      registers,
    }),
    failures: new Counter({
      name: 'whochanged_checkpoint_copy_failures_total',
      help: 'Copies of checkpoints that could not be made',
      registers,
    }),
  };
}

/**
 * Copies the newest checkpoint to where the database can't reach it: a log that is cut off at its end, checkpoints and
 * all, is found out by it. Every checkpoint vouches for all before it, so those between two copies need none.
 */
export function copyCheckpointsJob(
  clients: S3Clients,
  { place, lockDays }: { place: S3Place; lockDays: number },
  metrics: CheckpointCopyMetrics,
): Job {
  return {
    name: 'copy-checkpoints',
    schedule: '30 */5 * * * *',
    async runOnce({ client, now, log }) {
      const latest = await findLatestCheckpoint(client);
      if (!latest || latest.copiedAt !== null) return { rows: 0 };
      try {
        const lock = await canLock(clients, place);
        metrics.locked.set(lock ? 1 : 0);
        if (!lock)
          log.warn(
            { place: placeText(place) },
            'checkpoints are copied without Object Lock: the bucket has none',
          );
        const lockedUntil = lock ? new Date(now().getTime() + lockDays * DAY_MS) : undefined;
        await copyCheckpoint(clients, place, latest, lockedUntil);
      } catch (error) {
        metrics.failures.inc();
        await recordCopy(client, latest, (error as Error).message.slice(0, 500));
        throw new Error(`checkpoint ${latest.size} to ${placeText(place)}: ${(error as Error).message}`);
      }
      await recordCopy(client, latest, undefined);
      metrics.lastCopy.set(Date.parse(latest.signedAt) / 1000);
      return { rows: 1 };
    },
  };
}
