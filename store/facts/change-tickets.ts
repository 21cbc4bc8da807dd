import type { ClientBase } from 'pg';
import type { ChangeTicket } from '../../core/approval/facts.js';
import { personRow, timeRow } from './person.js';

export interface ToldTicket {
  ticket: ChangeTicket;
  /** The system's own time of its last change, in microseconds. */
  updatedAt?: number;
}

/**
 * Writes tickets as last told, and a row of history for each whose content changed. What is older than what is stored,
 * by the system's own time, goes into the history only.
 * @returns how many changed
 */
export async function upsertTickets(
  client: ClientBase,
  told: readonly ToldTicket[],
  seenAt: Date,
): Promise<number> {
  // Of one ticket told twice the later counts; Postgres refuses to touch a row twice.
  const latest = new Map(told.map((one) => [`${one.ticket.system}\n${one.ticket.id}`, one]));
  if (latest.size === 0) return 0;
  const rows = [...latest.values()].map(({ ticket, updatedAt }) => ({
    system: ticket.system,
    ticket_id: ticket.id,
    updated_at: timeRow(updatedAt),
    document: ticketDocument(ticket),
    window_start: timeRow(ticket.windowStart),
    window_end: timeRow(ticket.windowEnd),
    reviewed_at: timeRow(ticket.reviewedAt),
  }));
  const { rowCount } = await client.query(
    `with told as (
       select * from jsonb_to_recordset($1::jsonb) as r (system text, ticket_id text, updated_at timestamptz,
         document jsonb, window_start timestamptz, window_end timestamptz, reviewed_at timestamptz)),
     current as (
       insert into change_tickets as c (system, ticket_id, kind, state, approved, approvers, window_start, window_end,
              configuration_items, requested_by, url, reviewed_by, reviewed_at, updated_at, seen_at)
       select system, ticket_id, document ->> 'kind', document ->> 'state', (document -> 'approved')::boolean,
              document -> 'approvers', window_start, window_end,
              array(select jsonb_array_elements_text(document -> 'configurationItems')), document -> 'requestedBy',
              document ->> 'url', document -> 'reviewedBy', reviewed_at, updated_at, $2
         from told
       on conflict (system, ticket_id) do update set
         kind = excluded.kind, state = excluded.state, approved = excluded.approved, approvers = excluded.approvers,
         window_start = excluded.window_start, window_end = excluded.window_end,
         configuration_items = excluded.configuration_items, requested_by = excluded.requested_by, url = excluded.url,
         reviewed_by = excluded.reviewed_by, reviewed_at = excluded.reviewed_at, updated_at = excluded.updated_at,
         seen_at = excluded.seen_at
       where c.updated_at is null or excluded.updated_at is null or excluded.updated_at >= c.updated_at)
     insert into change_ticket_states (system, ticket_id, seen_at, updated_at, document)
     select system, ticket_id, $2, updated_at, document from told t
      where t.document is distinct from (
        select document from change_ticket_states s
         where s.system = t.system and s.ticket_id = t.ticket_id order by seen_at desc limit 1)
     on conflict (system, ticket_id, seen_at) do update set document = excluded.document`,
    [JSON.stringify(rows), seenAt],
  );
  return rowCount ?? 0;
}

function ticketDocument(ticket: ChangeTicket): ChangeTicket {
  return {
    ...ticket,
    approvers: ticket.approvers.map(({ person, ...rest }) => ({ ...rest, person: personRow(person) })),
    ...(ticket.requestedBy && { requestedBy: personRow(ticket.requestedBy) }),
    ...(ticket.reviewedBy && { reviewedBy: personRow(ticket.reviewedBy) }),
  };
}
