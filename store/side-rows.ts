import type { ClientBase } from 'pg';
import type { AcceptedEvent, Rejection } from '../core/accept.js';
import { formatMicros } from '../core/timestamp.js';
import type { FindingRow } from './known-events.js';
import type { AppendResult, Batch } from './new-events.js';

/** Remembers writes without an outcome, and forgets those that have it now. */
export async function appendOpenRequests(
  client: ClientBase,
  clusterID: number,
  opened: Array<{ accepted: AcceptedEvent; sourceID: number }>,
  closed: string[],
): Promise<void> {
  if (opened.length > 0) {
    await client.query({
      name: 'open-requests',
      text: `insert into open_requests (cluster_id, request_id, at, digest, source_id)
             select $1, * from unnest($2::uuid[], $3::timestamptz[], $4::bytea[], $5::integer[]) on conflict do nothing`,
      values: [
        clusterID,
        opened.map(({ accepted }) => accepted.requestID),
        opened.map(({ accepted }) => formatMicros(accepted.requestReceivedTimestamp)),
        opened.map(({ accepted }) => accepted.digest),
        opened.map(({ sourceID }) => sourceID),
      ],
    });
  }
  if (closed.length > 0) {
    await client.query({
      name: 'close-requests',
      text: 'delete from open_requests where cluster_id = $1 and request_id = any($2::uuid[])',
      values: [clusterID, closed],
    });
  }
}

export async function appendFindings(
  client: ClientBase,
  clusterID: number,
  findings: FindingRow[],
): Promise<void> {
  if (findings.length === 0) return;
  await client.query(
    `insert into findings (cluster_id, kind, at, subject, detail)
     select $1, f.kind, f.at, f.subject, f.detail
       from unnest($2::text[], $3::timestamptz[], $4::text[], $5::jsonb[]) as f (kind, at, subject, detail)
     on conflict do nothing`,
    [
      clusterID,
      findings.map((row) => row.kind),
      findings.map((row) => formatMicros(row.at)),
      findings.map((row) => row.subject),
      findings.map((row) => JSON.stringify(row.detail)),
    ],
  );
}

/** Flags stored changes whose auditID came again on another request. */
export async function flagReusedAuditIDs(
  client: ClientBase,
  clusterID: number,
  requestIDs: ReadonlySet<string>,
): Promise<void> {
  if (requestIDs.size === 0) return;
  await client.query(
    `update changes set flags = coalesce(flags, '{}') || '{audit_id_reused}'
      where cluster_id = $1 and change_id = any($2::uuid[]) and 'audit_id_reused' <> all(coalesce(flags, '{}'))`,
    [clusterID, [...requestIDs]],
  );
}

/** Keeps what was rejected; the same sample again only counts up. */
export async function appendRejections(
  client: ClientBase,
  sourceID: number,
  rejections: Rejection[],
): Promise<void> {
  if (rejections.length === 0) return;
  const distinct = [...new Map(rejections.map((row) => [row.digest.toString('hex'), row])).values()];
  await client.query(
    `insert into quarantine (source_id, reason, detail, digest, sample, replayable)
     select $1, * from unnest($2::text[], $3::text[], $4::bytea[], $5::text[], $6::boolean[])
     on conflict (source_id, digest) do update set seen = quarantine.seen + 1, received_at = now()`,
    [
      sourceID,
      distinct.map((row) => row.reason),
      distinct.map((row) => row.detail),
      distinct.map((row) => row.digest),
      distinct.map((row) => row.sample),
      distinct.map((row) => row.replayable),
    ],
  );
}

export async function recordHealth(
  client: ClientBase,
  batches: Batch[],
  results: ReadonlyMap<Batch, AppendResult>,
): Promise<void> {
  const sources = new Map<
    number,
    {
      received: number;
      event: number;
      stored: number;
      duplicates: number;
      quarantined: number;
      batches: number;
    }
  >();
  for (const batch of batches) {
    const result = results.get(batch)!;
    const row = sources.get(batch.sourceID) ?? {
      received: 0,
      event: 0,
      stored: 0,
      duplicates: 0,
      quarantined: 0,
      batches: 0,
    };
    row.received = Math.max(row.received, batch.receivedAt);
    for (const { stageTimestamp } of batch.accepted) row.event = Math.max(row.event, stageTimestamp);
    row.stored += result.stored;
    row.duplicates += result.duplicates;
    row.quarantined += result.quarantined;
    row.batches++;
    sources.set(batch.sourceID, row);
  }
  const rows = [...sources].sort(([a], [b]) => a - b);
  await client.query({
    name: 'record-health',
    text: `insert into source_health as h (source_id, last_received_at, last_event_at, events, duplicates, quarantined, batches)
           select * from unnest($1::integer[], $2::timestamptz[], $3::timestamptz[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[])
           on conflict (source_id) do update set
             last_received_at = greatest(h.last_received_at, excluded.last_received_at),
             last_event_at = greatest(h.last_event_at, excluded.last_event_at),
             events = h.events + excluded.events, duplicates = h.duplicates + excluded.duplicates,
             quarantined = h.quarantined + excluded.quarantined, batches = h.batches + excluded.batches`,
    values: [
      rows.map(([id]) => id),
      rows.map(([, row]) => formatMicros(row.received)),
      rows.map(([, row]) => (row.event > 0 ? formatMicros(row.event) : null)),
      rows.map(([, row]) => row.stored),
      rows.map(([, row]) => row.duplicates),
      rows.map(([, row]) => row.quarantined),
      rows.map(([, row]) => row.batches),
    ],
  });
}
