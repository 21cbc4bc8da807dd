import { createHash, type Hash } from 'node:crypto';
import type { JsonObject } from '../../core/audit-event.js';
import { requestID } from '../../core/identity.js';
import { type EventRow, envelopeOf, storedDigest } from '../queries/events.js';
import {
  type ArchivedColumn,
  BODY_FILE,
  BODY_REFERENCES,
  CHANGE_COLUMNS,
  CHANGE_FILE,
  EVENT_COLUMNS,
  EVENT_FILE,
} from './columns.js';
import type { ArchiveReader } from './files.js';
import { type Column, ParquetFile, type Row, readParquet } from './parquet.js';
import type { Segment, SegmentFile, SegmentFiles } from './segments.js';

const FORMAT = '1';
/** Rows that become one row group, and are in memory as columns at once. */
const GROUP_ROWS = 5000;
const GROUP_BODY_BYTES = 16 * 1024 * 1024;

/** A body as it goes into an archive: canonical redacted JSON; null where it isn't there any more. */
export interface ArchivedBody {
  digest: Buffer;
  text: string | null;
}

/** A row as text: equal for rows that are equal in every column. Digests of rows are made of it. */
export function rowText(columns: readonly ArchivedColumn[], row: Row): string {
  return JSON.stringify(
    columns.map(({ name, type }) => {
      const value = row[name] ?? null;
      return type === 'bytes' && value !== null ? (value as Buffer).toString('hex') : value;
    }),
  );
}

/** An archived row as the queries of store/queries know events. */
export function eventRowOf(row: Row): EventRow {
  const parsed = { ...row, cluster_id: 0, event_id: '' } as Row;
  for (const { name, type } of EVENT_COLUMNS) {
    if (type === 'json' && row[name] != null) parsed[name] = JSON.parse(row[name] as string) as JsonObject;
  }
  return parsed as unknown as EventRow;
}

/** What of an event's row follows from the rest of it: its digest and the id of its request. */
function derivedOf(row: Row): { digest: Buffer; request_id: string } {
  const event = eventRowOf(row);
  return { digest: storedDigest(event), request_id: requestID(envelopeOf(event)) };
}

/** Makes the three files of a segment. Events first, then their changes, then the bodies that both name. */
export class SegmentWriter {
  readonly #events: ParquetFile;
  readonly #changes: ParquetFile;
  readonly #bodies: ParquetFile;
  readonly #hashes = {
    events: createHash('sha256'),
    changes: createHash('sha256'),
    bodies: createHash('sha256'),
  };
  /** The place of each body that is named, by its digest in hex. */
  readonly #places = new Map<string, number>();
  readonly #eventPlaces = new Map<string, { place: number; row: Row }>();
  readonly objectIDs = new Set<string>();
  #bodyGroup: Row[] = [];
  #bodyBytes = 0;

  constructor(metadata: Record<string, string>) {
    const all = { 'whochanged.archive': FORMAT, ...metadata };
    this.#events = new ParquetFile(EVENT_FILE, all);
    this.#changes = new ParquetFile(CHANGE_FILE, all);
    this.#bodies = new ParquetFile(BODY_FILE, all);
  }

  /** The digests of the bodies to be added, in this very order. */
  get bodyDigests(): string[] {
    return [...this.#places.keys()];
  }

  addEvents(rows: readonly Row[]): void {
    for (let from = 0; from < rows.length; from += GROUP_ROWS) {
      this.#events.add(
        rows.slice(from, from + GROUP_ROWS).map((row, i) => {
          this.#note(EVENT_COLUMNS, row, this.#hashes.events);
          const key = eventKey(row.digest as Buffer, row.source_id as number);
          this.#eventPlaces.set(key, { place: this.#events.rows + i, row });
          const { digest, request_id } = derivedOf(row);
          return {
            ...row,
            ...this.#bodyPlaces(row),
            digest: digest.equals(row.digest as Buffer) ? null : row.digest,
            request_id: request_id === row.request_id ? null : row.request_id,
          };
        }),
      );
    }
  }

  addChanges(rows: readonly Row[]): void {
    for (let from = 0; from < rows.length; from += GROUP_ROWS) {
      this.#changes.add(
        rows.slice(from, from + GROUP_ROWS).map((row) => {
          this.#note(CHANGE_COLUMNS, row, this.#hashes.changes);
          const event = this.#eventPlaces.get(eventKey(row.event_digest as Buffer, row.source_id as number))!;
          return {
            ...row,
            ...this.#bodyPlaces(row),
            event: event.place,
            event_digest: null,
            change_id: row.change_id === event.row.request_id ? null : row.change_id,
            audit_id: row.audit_id === event.row.audit_id ? null : row.audit_id,
          };
        }),
      );
    }
  }

  addBody({ digest, text }: ArchivedBody): void {
    this.#hashes.bodies.update(digest);
    this.#bodyGroup.push({ body: text, digest: text === null ? digest : null });
    this.#bodyBytes += text?.length ?? 0;
    if (this.#bodyBytes >= GROUP_BODY_BYTES) this.#flushBodies();
  }

  finish(): { files: SegmentFiles; bytes: Record<keyof SegmentFiles, Buffer> } {
    this.#flushBodies();
    const bytes = {
      events: this.#events.finish(),
      changes: this.#changes.finish(),
      bodies: this.#bodies.finish(),
    };
    const file = (name: keyof SegmentFiles, rows: number): SegmentFile => ({
      rows,
      bytes: bytes[name].length,
      sha256: createHash('sha256').update(bytes[name]).digest('hex'),
      rowsSha256: this.#hashes[name].digest('hex'),
    });
    return {
      bytes,
      files: {
        events: file('events', this.#events.rows),
        changes: file('changes', this.#changes.rows),
        bodies: file('bodies', this.#bodies.rows),
      },
    };
  }

  #flushBodies(): void {
    this.#bodies.add(this.#bodyGroup);
    this.#bodyGroup = [];
    this.#bodyBytes = 0;
  }

  #note(columns: readonly ArchivedColumn[], row: Row, hash: Hash): void {
    hash.update(`${rowText(columns, row)}\n`);
    if (row.object_id !== null) this.objectIDs.add(row.object_id as string);
  }

  /** Numbers in the place of the digests of bodies: digests are what compresses least. */
  #bodyPlaces(row: Row): Row {
    const places: Row = {};
    for (const stem of BODY_REFERENCES) {
      const digest = row[`${stem}_digest`] as Buffer | null | undefined;
      if (!digest) continue;
      const hex = digest.toString('hex');
      let place = this.#places.get(hex);
      if (place === undefined) {
        place = this.#places.size;
        this.#places.set(hex, place);
      }
      places[`${stem}_body`] = place;
      places[`${stem}_digest`] = null;
    }
    return places;
  }
}

function eventKey(digest: Buffer, sourceID: number): string {
  return `${digest.toString('latin1')} ${sourceID}`;
}

/** Damage of an archive's file: it is not what was written. */
export class ArchiveError extends Error {}

/** Reads a segment back, as the rows that the database held. Every file is checked against its SHA-256 first. */
export class SegmentReader {
  readonly #segment: Pick<Segment, 'key' | 'files'>;
  readonly #archive: ArchiveReader;
  #digests: Buffer[] | undefined;

  constructor(archive: ArchiveReader, segment: Pick<Segment, 'key' | 'files'>) {
    this.#archive = archive;
    this.#segment = segment;
  }

  /** Bodies in their order. @throws ArchiveError */
  async *bodies(): AsyncGenerator<ArchivedBody[]> {
    const hash = createHash('sha256');
    for await (const rows of this.#groups('bodies', BODY_FILE)) {
      const bodies = rows.map(({ body, digest }): ArchivedBody => {
        const text = body as string | null;
        const own = text === null ? (digest as Buffer) : createHash('sha256').update(text).digest();
        hash.update(own);
        return { digest: own, text };
      });
      yield bodies;
    }
    this.#compare('bodies', hash);
  }

  /** Events in their order. @throws ArchiveError */
  async *events(): AsyncGenerator<Row[]> {
    const digests = await this.#bodyDigests();
    const hash = createHash('sha256');
    for await (const rows of this.#groups('events', EVENT_FILE)) {
      for (const row of rows) {
        putDigests(row, digests);
        if (row.digest === null || row.request_id === null) {
          const derived = derivedOf(row);
          row.digest ??= derived.digest;
          row.request_id ??= derived.request_id;
        }
        hash.update(`${rowText(EVENT_COLUMNS, row)}\n`);
      }
      yield rows;
    }
    this.#compare('events', hash);
  }

  /** Changes in their order. @throws ArchiveError */
  async *changes(): AsyncGenerator<Row[]> {
    const digests = await this.#bodyDigests();
    const told: Row[] = [];
    for await (const rows of this.events())
      for (const { digest, request_id, audit_id } of rows) told.push({ digest, request_id, audit_id });
    const hash = createHash('sha256');
    for await (const rows of this.#groups('changes', CHANGE_FILE)) {
      for (const row of rows) {
        putDigests(row, digests);
        const event = told[row.event as number];
        row.event_digest ??= event?.digest ?? null;
        row.change_id ??= event?.request_id ?? null;
        row.audit_id ??= event?.audit_id ?? null;
        hash.update(`${rowText(CHANGE_COLUMNS, row)}\n`);
      }
      yield rows;
    }
    this.#compare('changes', hash);
  }

  async #bodyDigests(): Promise<Buffer[]> {
    if (this.#digests) return this.#digests;
    const digests: Buffer[] = [];
    for await (const bodies of this.bodies()) for (const { digest } of bodies) digests.push(digest);
    this.#digests = digests;
    return digests;
  }

  async *#groups(name: keyof SegmentFiles, columns: readonly Column[]): AsyncGenerator<Row[]> {
    const { sha256, rows: expected } = this.#segment.files[name];
    const key = `${this.#segment.key}/${name}.parquet`;
    const bytes = await this.#archive.get(key);
    if (createHash('sha256').update(bytes).digest('hex') !== sha256)
      throw new ArchiveError(`${key}: it is not the file that was written: its SHA-256 is another`);
    let rows = 0;
    for await (const group of readParquet(bytes, columns)) {
      rows += group.length;
      yield group;
    }
    if (rows !== expected) throw new ArchiveError(`${key}: it holds ${rows} rows, not ${expected}`);
  }

  #compare(name: keyof SegmentFiles, hash: Hash): void {
    if (hash.digest('hex') !== this.#segment.files[name].rowsSha256)
      throw new ArchiveError(
        `${this.#segment.key}/${name}.parquet: its rows are not those that the database held`,
      );
  }
}

function putDigests(row: Row, digests: readonly Buffer[]): void {
  for (const stem of BODY_REFERENCES) {
    const place = row[`${stem}_body`];
    if (typeof place === 'number') row[`${stem}_digest`] = digests[place] ?? null;
  }
}
