import type { ClientBase } from 'pg';
import { parseMicros } from '../../core/timestamp.js';
import { storeBodies } from '../body-rows.js';
import { inClusterLock } from '../cluster-lock.js';
import { CopyRows, copyRows } from '../copy.js';
import { Dictionaries, DictionaryIDs } from '../dictionaries.js';
import { appendDictionaries, KnownEntries } from '../dictionaries-writer.js';
import { contextIDSql, EVENT_COLUMNS, type StoredEvent, writeEventRow } from '../event-row.js';
import { ensurePartitions, monthOf } from '../partitions.js';
import { type EventRow, envelopeOf } from '../queries/events.js';
import { type ArchivedColumn, CHANGE_COLUMNS } from './columns.js';
import type { ArchiveReader } from './files.js';
import type { Row } from './parquet.js';
import { type ArchivedBody, eventRowOf, SegmentReader } from './segment-files.js';
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
  const known = new KnownEntries();
  for await (const rows of reader.events())
    for (let from = 0; from < rows.length; from += ROWS_AT_ONCE)
      await putEvents(client, clusterID, rows.slice(from, from + ROWS_AT_ONCE), known);
  for await (const rows of reader.changes())
    for (let from = 0; from < rows.length; from += ROWS_AT_ONCE)
      await putChanges(client, clusterID, rows.slice(from, from + ROWS_AT_ONCE));
  await moveSegment(client, segment.id, ['loading'], 'loaded');
}

async function putBodies(
  client: ClientBase,
  clusterID: number,
  bodies: readonly ArchivedBody[],
): Promise<void> {
  const whole = bodies.flatMap(({ digest, text }) =>
    text === null ? [] : [{ digest, json: Buffer.from(text) }],
  );
  // What is swept away meanwhile would be missing.
  await inClusterLock(client, clusterID, () => storeBodies(client, clusterID, whole));
}

/** Those that are not there already, taken apart as intake does it. */
async function putEvents(
  client: ClientBase,
  clusterID: number,
  rows: readonly Row[],
  known: KnownEntries,
): Promise<void> {
  const dictionaries = new Dictionaries(new DictionaryIDs());
  await inClusterLock(client, clusterID, async () => {
    const there = await client.query<{ n: number }>(
      `select w.n::integer from unnest($2::timestamptz[], $3::bytea[], $4::integer[]) with ordinality as w (at, digest, source_id, n)
        where exists (select from events e
                       where e.cluster_id = $1 and e.at = w.at and e.digest = w.digest and e.source_id = w.source_id)`,
      [
        clusterID,
        rows.map(({ at }) => at),
        rows.map(({ digest }) => digest),
        rows.map(({ source_id }) => source_id),
      ],
    );
    const has = new Set(there.rows.map(({ n }) => n - 1));
    const copied = new CopyRows();
    for (const [i, archived] of rows.entries()) {
      if (has.has(i)) continue;
      const row = eventRowOf(archived);
      const place = { clusterID, sourceID: row.source_id, seq: BigInt(row.seq), class: row.class };
      writeEventRow(copied, place, storedEventOf(row), dictionaries, known);
    }
    await appendDictionaries(client, clusterID, dictionaries, known);
    await copyRows(client, 'event_rows', EVENT_COLUMNS, copied);
  });
  known.confirm(dictionaries);
}

function storedEventOf(row: EventRow): StoredEvent {
  const body = (digest: Buffer | null) => (digest === null ? undefined : { digest });
  return {
    event: envelopeOf(row),
    digest: row.digest,
    requestID: row.request_id,
    request: body(row.request_digest),
    response: body(row.response_digest),
    encodedRow: undefined,
  };
}

/** Their events are there already. */
async function putChanges(client: ClientBase, clusterID: number, rows: readonly Row[]): Promise<void> {
  const names = ['cluster_id', ...CHANGE_COLUMNS.map(({ name }) => name)].join(', ');
  const texts = rows.map((row) => recordText(clusterID, CHANGE_COLUMNS, row));
  await inClusterLock(client, clusterID, () =>
    client.query(
      `insert into changes (${names}, context_id)
       select ${names}, ${contextIDSql('c', 'event_digest')} from json_populate_recordset(null::changes, $1::json) c
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
