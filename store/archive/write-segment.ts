import { randomUUID } from 'node:crypto';
import type { ClientBase } from 'pg';
import { formatMicros, parseMicros } from '../../core/timestamp.js';
import { readBodies, type StoredBody } from '../body-packs.js';
import { type DueQuestion, findDueEvents, findTheirChanges } from './due-rows.js';
import type { S3Archive } from './files.js';
import type { Row } from './parquet.js';
import { SegmentReader, SegmentWriter } from './segment-files.js';
import { insertSegment, moveSegment, type NewSegment, type Segment } from './segments.js';

/** Bodies that are read from the database at once. */
const BODIES_AT_ONCE = 500;

/**
 * Writes what is due to the archive, as one segment, from one snapshot of the database. `take` may decline, for instance
 * because it is too little to be worth three files. Nothing in the database changes but that the segment is recorded,
 * once its files lie there. When it breaks off before that, files without a record stay, which nothing refers to.
 * @returns how many events were due, and the key of the segment that they were written to
 */
export async function writeSegment(
  client: ClientBase,
  archive: S3Archive,
  cluster: { id: number; name: string },
  question: Omit<DueQuestion, 'clusterID'>,
  take: (events: readonly Row[]) => boolean = () => true,
): Promise<{ due: number; written: string | undefined; until: string | undefined }> {
  await client.query('begin isolation level repeatable read');
  try {
    const events = await findDueEvents(client, { ...question, clusterID: cluster.id });
    const last = events.at(-1)?.at as string | undefined;
    if (events.length === 0 || !take(events)) {
      await client.query('commit');
      return { due: events.length, written: undefined, until: last };
    }
    const first = events[0]!.at as string;
    // Verifying walks through the log, which is in the order of their numbers.
    events.sort((a, b) => (BigInt(a.seq as string) < BigInt(b.seq as string) ? -1 : 1));
    const writer = new SegmentWriter({
      'whochanged.cluster': cluster.name,
      'whochanged.classes': question.classes.join(','),
    });
    writer.addEvents(events);
    writer.addChanges(await findTheirChanges(client, cluster.id, events));
    await addBodies(client, cluster.id, writer);
    const { files, bytes } = writer.finish();
    const key = `${cluster.name}/${first.slice(0, 7)}/${question.classes[0]}-${first.replace(/[^0-9TZ]/g, '')}-${randomUUID()}`;
    for (const [name, content] of Object.entries(bytes)) await archive.put(`${key}/${name}.parquet`, content);
    const segment: NewSegment = {
      clusterID: cluster.id,
      classes: [...question.classes],
      since: first,
      until: formatMicros(parseMicros(last!)! + 1),
      key,
      events: files.events.rows,
      changes: files.changes.rows,
      bodies: files.bodies.rows,
      seqFrom: Number(events[0]!.seq),
      seqTo: Number(events.at(-1)!.seq) + 1,
      files,
    };
    await insertSegment(client, segment, [...writer.objectIDs]);
    await client.query('commit');
    return { due: events.length, written: key, until: last };
  } catch (error) {
    await client.query('rollback').catch(() => undefined);
    throw error;
  }
}

/**
 * Reads a written segment back from where it lies: every file must be the one that was written, and give the very rows
 * that the database held.
 * @throws ArchiveError, or the archive's error
 */
export async function verifySegment(client: ClientBase, archive: S3Archive, segment: Segment): Promise<void> {
  const reader = new SegmentReader(archive, segment);
  // Reading to the end is what checks; changes read events and bodies too.
  for await (const _rows of reader.changes());
  await moveSegment(client, segment.id, ['written'], 'verified');
}

async function addBodies(client: ClientBase, clusterID: number, writer: SegmentWriter): Promise<void> {
  const digests = writer.bodyDigests;
  for (let from = 0; from < digests.length; from += BODIES_AT_ONCE) {
    const wanted = digests.slice(from, from + BODIES_AT_ONCE);
    const texts = await readBodies(
      (text, values) => client.query<StoredBody>(text, values),
      clusterID,
      wanted.map((digest) => Buffer.from(digest, 'hex')),
    );
    for (const hex of wanted) {
      const text = texts.get(hex);
      // A body that was altered in the database is not that body.
      if (text === undefined && texts.has(hex))
        throw new Error(`the body ${hex} does not have that digest any more`);
      writer.addBody({ digest: Buffer.from(hex, 'hex'), text: text ?? null });
    }
  }
}
