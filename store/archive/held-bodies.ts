import { parseMicros } from '../../core/timestamp.js';
import type { LegalHold } from '../holds.js';
import type { ArchiveReader } from './files.js';
import type { Row } from './parquet.js';
import { SegmentReader } from './segment-files.js';
import type { Segment } from './segments.js';

/**
 * Whether an archived event that an active hold covers has one of these bodies: equal bodies of several events are one, and
 * one of them may be held where another isn't.
 * @throws ArchiveError, or the archive's error: what can't be read may be held
 */
export async function holdsHeldBody(
  archive: ArchiveReader,
  cluster: string,
  segment: Segment,
  digests: ReadonlySet<string>,
  holds: readonly LegalHold[],
): Promise<boolean> {
  if (holds.length === 0) return false;
  const named = (digest: unknown) => Buffer.isBuffer(digest) && digests.has(digest.toString('hex'));
  for await (const rows of new SegmentReader(archive, segment).events())
    for (const row of rows) {
      if (!named(row.request_digest) && !named(row.response_digest)) continue;
      if (holds.some((hold) => covers(hold, cluster, row))) return true;
    }
  return false;
}

/** As heldSql (store/holds.ts) has it of rows in the database. */
function covers(hold: LegalHold, cluster: string, row: Row): boolean {
  const at = parseMicros(row.at as string)!;
  const holdsOf = (named: string | null, ...values: unknown[]) => named === null || values.includes(named);
  return (
    holdsOf(hold.cluster, cluster) &&
    holdsOf(hold.namespace, row.namespace) &&
    holdsOf(hold.apiGroup, row.api_group) &&
    holdsOf(hold.resource, row.resource) &&
    holdsOf(hold.name, row.name) &&
    holdsOf(hold.username, row.username, row.impersonated_username) &&
    (hold.since === null || at >= parseMicros(hold.since)!) &&
    (hold.until === null || at < parseMicros(hold.until)!)
  );
}
