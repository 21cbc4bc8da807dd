import { parseRetention, type RetentionPolicy } from '../core/retention/policy.js';
import { parseS3Place, type S3Place } from '../store/s3-place.js';
import type { VariableReader } from './variables.js';

/** What leaves the database when, and where copies of it go that the database can't reach. */
export interface RetentionConfig {
  policy: RetentionPolicy;
  /** Undefined: nothing is archived, and so nothing is dropped. */
  archive: S3Place | undefined;
  /** Archived events that questions may load back at once. */
  loadMaxEvents: number;
  /** How long archived events that were loaded for a question stay after the last one. */
  loadedSeconds: number;
  checkpoints: { place: S3Place; lockDays: number } | undefined;
  /** How many days alerts stay; 0: for good. */
  alertsKeepDays: number;
}

export function readRetentionConfig(reader: VariableReader, problems: string[]): RetentionConfig {
  const archive = readPlace(reader, 'WHOCHANGED_ARCHIVE_URL', problems);
  const place = readPlace(reader, 'WHOCHANGED_CHECKPOINTS_URL', problems);
  const lockDays = reader.integer('WHOCHANGED_CHECKPOINTS_LOCK_DAYS', 365, 1, 36_500);
  const policy = readPolicy(reader, problems);
  if (policy.size > 0 && archive === undefined)
    problems.push(
      'WHOCHANGED_RETENTION: set without WHOCHANGED_ARCHIVE_URL, and nothing is dropped that was not archived; name a bucket, such as s3://audit-archive/prod/',
    );
  return {
    policy,
    archive,
    loadMaxEvents: reader.integer('WHOCHANGED_ARCHIVE_LOAD_MAX_EVENTS', 2_000_000, 1000, 1_000_000_000),
    loadedSeconds: reader.integer('WHOCHANGED_ARCHIVE_LOADED_SECONDS', 3600, 60, 30 * 86_400),
    checkpoints: place && { place, lockDays },
    alertsKeepDays: reader.integer('WHOCHANGED_ALERTS_KEEP_DAYS', 0, 0, 36_500),
  };
}

function readPolicy(reader: VariableReader, problems: string[]): RetentionPolicy {
  try {
    return parseRetention(reader.list('WHOCHANGED_RETENTION'));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    problems.push(`WHOCHANGED_RETENTION: ${error.message}; an example: read=7d,lease=7d,change=730d`);
    return new Map();
  }
}

function readPlace(reader: VariableReader, name: string, problems: string[]): S3Place | undefined {
  const text = reader.text(name, '');
  if (text === '') return undefined;
  try {
    return parseS3Place(text);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    problems.push(`${name}: ${error.message}; an example: s3://audit-archive/prod/?region=eu-central-1`);
    return undefined;
  }
}
