import type { ClientBase } from 'pg';
import { parseMicros } from '../../core/timestamp.js';
import { encodeBody } from '../body-encoding.js';
import { inClusterLock } from '../cluster-lock.js';
import { ensurePartitions, monthOf } from '../partitions.js';
import { type ArchivedColumn, CHANGE_COLUMNS, EVENT_TABLE_COLUMNS } from './columns.js';
import type { ArchiveReader } from './files.js';
import type { Row } from './parquet.js';
import { type ArchivedBody, SegmentReader } from './segment-files.js';
import { withSegment } from './segment-lock.js';
import { moveSegment, type Segment } from './segments.js';

const ROWS_AT_ONCE = 1000;

/**
 * Puts a segment's rows back into the tables they came from, so that every question finds them as it did before: under the
 * same row-level security, with the bodies that were redacted before they were ever written. Goes on where it broke off.
 * @throws ArchiveError, or the archive's error; what was put back by then stays, and is dropped again in time
 */
export async function loadSegment(
  client: ClientBase,
  archive: ArchiveReader,
  segment: Segment,
): Promise<void> {
  await withSegment(client, segment.id, () => load(client, archive, segment));
}

async function load(client: ClientBase, archive: ArchiveReader, segment: Segment): Promise<void> {
  // One that was being dropped when whoever did it broke off is put back as well.
  if (!(await moveSegment(client, segment.id, ['archived', 'loading', 'dropping'], 'loading'))) return;
  const months = new Set<number>();
  for (const time of [segment.since, segment.until]) months.add(monthOf(parseMicros(time)!));
  for (let month = Math.min(...months); month <= Math.max(...months); month++)
    await ensurePartitions(client, [month]);
  const reader = new SegmentReader(archive, segment);
  const { clusterID } = segment;
  for await (const bodies of reader.bodies())
    for (let from = 0; from < bodies.length; from += ROWS_AT_ONCE)
      await putBodies(client, clusterID, bodies.slice(from, from + ROWS_AT_ONCE));
  for (const [table, columns, groups] of [
    ['events', EVENT_TABLE_COLUMNS, reader.events()],
    ['changes', CHANGE_COLUMNS, reader.changes()],
  ] as const) {
    for await (const rows of groups)
      for (let from = 0; from < rows.length; from += ROWS_AT_ONCE)
        await putRows(client, clusterID, table, columns, rows.slice(from, from + ROWS_AT_ONCE));
  }
  await moveSegment(client, segment.id, ['loading'], 'loaded');
}

async function putBodies(
  client: ClientBase,
  clusterID: number,
  bodies: readonly ArchivedBody[],
): Promise<void> {
  const whole = bodies.filter((body) => body.text !== null);
  const encoded = whole.map(({ text }) => encodeBody(Buffer.from(text!)));
  // What is swept away meanwhile would be missing.
  await inClusterLock(client, clusterID, async () => {
    const digests = whole.map(({ digest }) => digest);
    await client.query('delete from body_candidates where cluster_id = $1 and digest = any($2::bytea[])', [
      clusterID,
      digests,
    ]);
    await client.query(
      `insert into bodies (cluster_id, digest, size, encoding, content)
       select $1, b.* from unnest($2::bytea[], $3::integer[], $4::smallint[], $5::bytea[]) as b (digest, size, encoding, content)
        where not exists (select from erased_bodies x where x.cluster_id = $1 and x.digest = b.digest) on conflict do nothing`,
      [
        clusterID,
        digests,
        whole.map(({ text }) => Buffer.byteLength(text!)),
        encoded.map(({ encoding }) => encoding),
        encoded.map(({ content }) => content),
      ],
    );
  });
}

async function putRows(
  client: ClientBase,
  clusterID: number,
  table: 'events' | 'changes',
  columns: readonly ArchivedColumn[],
  rows: readonly Row[],
): Promise<void> {
  const names = ['cluster_id', ...columns.map(({ name }) => name)].join(', ');
  const texts = rows.map((row) => recordText(clusterID, columns, row));
  await inClusterLock(client, clusterID, () =>
    client.query(
      `insert into ${table} (${names}) select ${names} from json_populate_recordset(null::${table}, $1::json)
       on conflict do nothing`,
      [`[${texts.join(',')}]`],
    ),
  );
}

/** A row as JSON that Postgres reads as a record. JSON columns go in as the text they are. */
function recordText(clusterID: number, columns: readonly ArchivedColumn[], row: Row): string {
  const members = columns.flatMap(({ name, type }) => {
    const value = row[name];
    if (value === null || value === undefined) return [];
    if (type === 'json') return [`"${name}":${value as string}`];
    return [
      `"${name}":${JSON.stringify(type === 'bytes' ? `\\x${(value as Buffer).toString('hex')}` : value)}`,
    ];
  });
  return `{"cluster_id":${clusterID},${members.join(',')}}`;
}
