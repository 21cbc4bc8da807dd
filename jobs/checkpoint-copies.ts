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
      help: '1 when the newest copy of a checkpoint was read back as locked in mode COMPLIANCE for as long as is asked; 0 when nothing keeps it from being deleted',
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
  const tell = (signedAt: string, locked: boolean) => {
    metrics.lastCopy.set(Date.parse(signedAt) / 1000);
    metrics.locked.set(locked ? 1 : 0);
  };
  return {
    name: 'copy-checkpoints',
    schedule: '30 */5 * * * *',
    async runOnce({ client, now, log }) {
      const latest = await findLatestCheckpoint(client);
      if (!latest) return { rows: 0 };
      if (latest.copiedAt !== null) {
        tell(
          latest.signedAt,
          latest.lockedUntil !== null && Date.parse(latest.lockedUntil) > now().getTime(),
        );
        return { rows: 0 };
      }
      let lockedUntil: Date | undefined;
      try {
        const wanted = (await canLock(clients, place))
          ? new Date(now().getTime() + lockDays * DAY_MS)
          : undefined;
        const found = await copyCheckpoint(clients, place, latest, wanted);
        // Stores may keep whole seconds.
        if (wanted && found && found.getTime() > wanted.getTime() - 1000) lockedUntil = found;
        if (!lockedUntil)
          log.warn(
            { place: placeText(place), found: found?.toISOString() },
            wanted
              ? 'the copy of a checkpoint was read back without the lock that it was written with: whoever may delete objects there can delete it'
              : 'checkpoints are copied without Object Lock: the bucket has none',
          );
      } catch (error) {
        metrics.failures.inc();
        await recordCopy(client, latest, { error: (error as Error).message.slice(0, 500) });
        throw new Error(`checkpoint ${latest.size} to ${placeText(place)}: ${(error as Error).message}`);
      }
      await recordCopy(client, latest, { lockedUntil });
      tell(latest.signedAt, lockedUntil !== undefined);
      return { rows: 1 };
    },
  };
}
