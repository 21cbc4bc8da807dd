import { sql } from 'kysely';
import { accessEventDigest } from '../../core/access/access-event.js';
import { formatMicros, parseMicros } from '../../core/timestamp.js';
import { verdictRecordDigest } from '../../core/verdict/verdict-record.js';
import { accessEventOf } from '../access-events.js';
import { EVENT_JOINS, EVENT_SELECT, type EventRow, storedDigest } from '../queries/events.js';
import type { AccessEventTable } from '../schema.js';
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
    read: (row) => ({
      seq: Number(row.seq),
      name: `event ${row.event_id}`,
      origin: row.source,
      at: parseMicros(row.at)!,
      digest: row.digest,
      found: storedDigest(row),
    }),
    inCommitOrder: true,
  };
}

interface VerdictRow {
  id: string;
  at: string;
  change_id: string;
  evaluated_at: string;
  verdict: string;
  reason: string | null;
  detail: string;
  environment: string;
  policy_digest: string;
  final: boolean;
  root_change_id: string | null;
  root_verdict: string | null;
  root_reason: string | null;
  document: object;
}

/** A verdict's own digest tells equal verdicts, whenever they were made: the log's is of the whole row. */
export function loggedVerdicts(cluster: Cluster): LoggedRows<VerdictRow> {
  return {
    type: 'verdict',
    cluster,
    query: sql`select id, at, change_id, evaluated_at, verdict, reason, detail, environment, policy_digest, final,
                      root_change_id, root_verdict, root_reason, document
                 from verdicts where cluster_id = ${cluster.id} order by id`,
    read: (row) => {
      const found = verdictRecordDigest({
        at: formatMicros(parseMicros(row.at)!),
        changeID: row.change_id,
        evaluatedAt: formatMicros(parseMicros(row.evaluated_at)!),
        verdict: row.verdict,
        reason: row.reason,
        detail: row.detail,
        environment: row.environment,
        policyDigest: row.policy_digest,
        final: row.final,
        rootChangeID: row.root_change_id,
        rootVerdict: row.root_verdict,
        rootReason: row.root_reason,
        document: row.document,
      });
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
