import { randomUUID } from 'node:crypto';
import type { ClientBase } from 'pg';
import { ERASED_SUMMARY } from '../erasures.js';
import { BODY_REFERENCES } from './columns.js';
import type { S3Archive } from './files.js';
import type { Row } from './parquet.js';
import { SegmentReader, SegmentWriter } from './segment-files.js';
import { withSegment } from './segment-lock.js';
import type { Segment, SegmentFiles } from './segments.js';

const FILES: ReadonlyArray<keyof SegmentFiles> = ['events', 'changes', 'bodies'];

export interface Rewritten {
  /** The segment's key before. */
  key: string;
  /** Whether its old files could be deleted. In a bucket with versions or a lock, they go on being there all the same. */
  deleted: boolean;
}

/**
 * Writes a segment anew without the content of some bodies, under another key, and takes the new files in the old one's
 * place once they were read back. Undefined where none of the bodies is in it.
 * @throws Error when somebody is at the segment, ArchiveError, or the archive's error; the segment is as it was then
 */
export async function eraseFromSegment(
  client: ClientBase,
  archive: S3Archive,
  cluster: string,
  segment: Segment,
  erased: ReadonlySet<string>,
): Promise<Rewritten | undefined> {
  const result = await withSegment(client, segment.id, async () => {
    const reader = new SegmentReader(archive, segment);
    let found = false;
    for await (const bodies of reader.bodies())
      found ||= bodies.some(({ digest, text }) => text !== null && erased.has(digest.toString('hex')));
    if (!found) return 'none' as const;
    const writer = new SegmentWriter({
      'whochanged.cluster': cluster,
      'whochanged.classes': segment.classes.join(','),
    });
    for await (const rows of reader.events()) writer.addEvents(rows);
    for await (const rows of reader.changes()) writer.addChanges(rows.map((row) => without(row, erased)));
    for await (const bodies of reader.bodies())
      for (const body of bodies)
        writer.addBody(erased.has(body.digest.toString('hex')) ? { ...body, text: null } : body);
    const { files, bytes } = writer.finish();
    const key = `${segment.key.slice(0, segment.key.length - UUID_LENGTH)}${randomUUID()}`;
    for (const name of FILES) await archive.put(`${key}/${name}.parquet`, bytes[name]);
    for await (const _rows of new SegmentReader(archive, { key, files }).changes());
    await client.query('update archive_segments set key = $2, files = $3 where id = $1', [
      segment.id,
      key,
      JSON.stringify(files),
    ]);
    let deleted = true;
    for (const name of FILES) {
      const gone = await archive.remove(`${segment.key}/${name}.parquet`).then(
        () => true,
        () => false,
      );
      deleted &&= gone;
    }
    return { key: segment.key, deleted };
  });
  if (result === undefined) throw new Error(`${segment.key} is being loaded or dropped`);
  return result === 'none' ? undefined : result;
}

const UUID_LENGTH = 36;

/** As eraseBodies leaves a change in the database. */
function without(row: Row, erased: ReadonlySet<string>): Row {
  const told = BODY_REFERENCES.some((stem) => {
    const digest = row[`${stem}_digest`] as Buffer | null;
    return digest !== null && erased.has(digest.toString('hex'));
  });
  if (!told) return row;
  return { ...row, diff: null, field_terms: null, labels: null, inferred: null, summary: ERASED_SUMMARY };
}
