import { sql } from 'kysely';
import { accessEventDigest } from '../../core/access/access-event.js';
import type { AuditEvent } from '../../core/audit-event.js';
import { classifyEvent } from '../../core/classify.js';
import { parseMicros } from '../../core/timestamp.js';
import { verdictRecordDigest } from '../../core/verdict/verdict-record.js';
import type { EventClass } from '../../core/vocabulary.js';
import { accessEventOf } from '../access-events.js';
import { EVENT_JOINS, EVENT_SELECT, type EventRow, envelopeOf, storedDigest } from '../queries/events.js';
import type { AccessEventTable } from '../schema.js';
import { VERDICT_RECORD_COLUMNS, type VerdictRecordRow, verdictRecordOf } from './verdict-records.js';
import type { LoggedRows } from './verify-records.js';

interface Cluster {
  id: number;
  name: string;
}

export function loggedEvents(cluster: Cluster): LoggedRows<EventRow> {
  return {
    type: 'event',
    cluster,
    query: sql`${EVENT_SELECT} from events e ${EVENT_JOINS} where e.cluster_id = ${cluster.id} order by e.seq`,
    read: (row) => {
      const envelope = envelopeOf(row);
      return {
        seq: Number(row.seq),
        name: `event ${row.event_id}`,
        origin: row.source,
        at: parseMicros(row.at)!,
        digest: row.digest,
        found: storedDigest(row, envelope),
        contradiction: hiddenChange(row, envelope),
      };
    },
    inCommitOrder: true,
  };
}

const MADE_CHANGES: readonly EventClass[] = ['change', 'derived', 'status', 'access'];
/** What no write or access that went through can be; whether one is a dry run, a no-op or a lease's its body tells. */
const NO_CHANGE: readonly EventClass[] = [
  'read',
  'secret_read',
  'review',
  'stage',
  'failed_auth',
  'rejected',
];

/** The class is in no digest: whoever alters it to hide a change from every list is found by what the event says. */
function hiddenChange(row: EventRow, envelope: AuditEvent): string | undefined {
  if (!NO_CHANGE.includes(row.class)) return undefined;
  const told = classifyEvent(envelope);
  return MADE_CHANGES.includes(told) ? `it is told as ${row.class}, and it is of class ${told}` : undefined;
}

/** A verdict's own digest tells equal verdicts, whenever they were made: the log's is of the whole row. */
export function loggedVerdicts(cluster: Cluster): LoggedRows<VerdictRecordRow> {
  return {
    type: 'verdict',
    cluster,
    query: sql`select ${sql.raw(VERDICT_RECORD_COLUMNS)} from verdicts where cluster_id = ${cluster.id} order by id`,
    read: (row) => {
      const found = verdictRecordDigest(verdictRecordOf(row));
      const at = parseMicros(row.evaluated_at)!;
      return {
        seq: Number(row.id),
        name: `verdict ${row.id} of change ${row.change_id}`,
        origin: '',
        at,
        digest: found,
        found,
      };
    },
    inCommitOrder: false,
  };
}

export function loggedAccessEvents(): LoggedRows<AccessEventTable> {
  return {
    type: 'access',
    cluster: { id: 0, name: '' },
    query: sql`select * from access_events order by seq`,
    read: (row) => {
      const at = parseMicros(row.at)!;
      const found = accessEventDigest(accessEventOf(row));
      return {
        seq: Number(row.seq),
        name: `access event ${row.seq} of ${row.caller || 'nobody known'}`,
        origin: '',
        at,
        digest: row.digest,
        found,
      };
    },
    inCommitOrder: false,
  };
}
