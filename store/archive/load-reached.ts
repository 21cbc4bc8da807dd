import type { ClientBase } from 'pg';
import { WhochangedError } from '../../core/errors.js';
import type { ArchiveReader } from './files.js';
import { findReached, type Reach } from './find-reached.js';
import { loadSegment } from './load-segment.js';
import { askForSegments, isElsewhere } from './segments.js';

/** The archive, for a job that asks about the past. */
export interface JobArchive {
  reader: ArchiveReader;
  /** Events that may be loaded at once. */
  loadMaxEvents: number;
  /** How long they stay after the last question. */
  loadedSeconds: number;
}

/**
 * Puts what a question reaches in the archive back into the tables, where it stays for a while, and waits for it.
 * @throws WhochangedError `invalid_request` where it is too much, or the archive's error
 */
export async function loadReached(client: ClientBase, archive: JobArchive, reach: Reach): Promise<void> {
  const segments = await findReached(client, reach);
  const ids = segments.map(({ id }) => id);
  await askForSegments(client, ids, archive.loadedSeconds);
  const elsewhere = segments.filter(isElsewhere);
  const events = elsewhere.reduce((sum, segment) => sum + segment.events, 0);
  if (events > archive.loadMaxEvents)
    throw new WhochangedError(
      'invalid_request',
      `the period reaches ${events} archived events, and ${archive.loadMaxEvents} may be read from the archive at once`,
      { hint: 'raise WHOCHANGED_ARCHIVE_LOAD_MAX_EVENTS' },
    );
  for (const segment of elsewhere) await loadSegment(client, archive.reader, segment);
}
