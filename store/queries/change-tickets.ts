import type { ClientBase, Pool } from 'pg';
import type { ChangeTicket } from '../../core/approval/facts.js';
import { micros } from '../facts/person.js';
import { type ApprovalRow, importedApproval } from './commit-approvals.js';
import { encodeCursor, type Keyset, type Page } from './cursor.js';

type Db = Pool | ClientBase;

/** A ticket as it was seen at a time. */
export interface TicketState {
  ticket: ChangeTicket;
  /** RFC 3339. */
  seenAt: string;
  /** RFC 3339, by the system's own clock. */
  updatedAt: string | null;
}

interface StateRow {
  document: ChangeTicket;
  seen_at: string;
  updated_at: string | null;
}

function ticketState(row: StateRow): TicketState {
  return { ticket: row.document, seenAt: row.seen_at, updatedAt: row.updated_at };
}

const NEWEST = `(select document from change_ticket_states s
   where s.system = t.system and s.ticket_id = t.ticket_id
   order by coalesce(updated_at, seen_at) desc, seen_at desc limit 1)`;

/** Tickets as last told, the last seen first. `item`: a configuration item, exact. */
export async function findTickets(
  db: Db,
  filter: { system?: string; item?: string; at?: string },
  after: Keyset | undefined,
  limit: number,
): Promise<Page<TicketState>> {
  const where: string[] = [];
  const values: unknown[] = [];
  const add = (clause: string, value: unknown) => {
    values.push(value);
    where.push(clause.replaceAll('?', `$${values.length}`));
  };
  if (filter.system !== undefined) add('t.system = ?', filter.system);
  if (filter.item !== undefined) add('t.configuration_items @> array[?::text]', filter.item);
  if (filter.at !== undefined)
    add(
      "coalesce(t.window_start, '-infinity') <= ?::timestamptz and coalesce(t.window_end, 'infinity') > ?::timestamptz",
      filter.at,
    );
  if (after !== undefined) {
    values.push(after.at, ...ticketPlace(after.id));
    const n = values.length;
    where.push(`(t.seen_at, t.system, t.ticket_id) < ($${n - 2}::timestamptz, $${n - 1}, $${n})`);
  }
  values.push(limit + 1);
  const { rows } = await db.query<StateRow & { system: string; ticket_id: string }>(
    `select t.system, t.ticket_id, t.seen_at, t.updated_at, ${NEWEST} as document from change_tickets t
      ${where.length > 0 ? `where ${where.join(' and ')}` : ''}
      order by t.seen_at desc, t.system desc, t.ticket_id desc limit $${values.length}`,
    values,
  );
  const items = rows.slice(0, limit);
  const last = items.at(-1);
  const next =
    rows.length > limit && last
      ? encodeCursor({
          at: last.seen_at,
          id: Buffer.from(`${last.system}\n${last.ticket_id}`).toString('hex'),
        })
      : null;
  return { items: items.map(ticketState), next };
}

function ticketPlace(id: string): [system: string, ticketID: string] {
  const [system = '', ticketID = ''] = Buffer.from(id, 'hex').toString('utf8').split('\n');
  return [system, ticketID];
}

/** Every state of the tickets of that id, in whatever system unless one is named; the oldest first. */
export async function findTicketHistory(db: Db, id: string, system?: string): Promise<TicketState[]> {
  const { rows } = await db.query<StateRow>(
    `select document, seen_at, updated_at from change_ticket_states
      where ticket_id = $1 and ($2::text is null or system = $2)
      order by system, coalesce(updated_at, seen_at), seen_at`,
    [id, system ?? null],
  );
  return rows.map(ticketState);
}

/**
 * Tickets as they are last known that say anything about a time between `since` and `until` (microseconds): their
 * window touches it, or a bound of it is missing. For the correlator, which matches configuration items itself.
 */
export async function findTicketsBetween(db: Db, since: number, until: number): Promise<ChangeTicket[]> {
  const { rows } = await db.query<{ document: ChangeTicket }>(
    `select ${NEWEST} as document from change_tickets t
      where coalesce(t.window_start, '-infinity') <= to_timestamp($2::float8 / 1e6)
        and coalesce(t.window_end, 'infinity') > to_timestamp($1::float8 / 1e6)
      order by t.system, t.ticket_id`,
    [since, until],
  );
  return rows.map((row) => row.document);
}

/** Tickets by their ids, for annotations and messages that name them; as last known. */
export async function findTicketsByID(db: Db, ids: readonly string[]): Promise<ChangeTicket[]> {
  const { rows } = await db.query<{ document: ChangeTicket }>(
    `select ${NEWEST} as document from change_tickets t where t.ticket_id = any($1::text[])
      order by t.system, t.ticket_id`,
    [ids],
  );
  return rows.map((row) => row.document);
}

/** Imported approvals, the latest first. */
export async function findApprovals(
  db: Db,
  filter: { origin?: string; subject?: string },
  after: Keyset | undefined,
  limit: number,
): Promise<Page<ReturnType<typeof importedApproval>>> {
  const { rows } = await db.query<ApprovalRow>(
    `select * from imported_approvals
      where ($1::text is null or origin = $1) and ($2::text is null or subject = $2)
        and ($3::timestamptz is null or (approved_at, origin, approval_id) < ($3, $4, $5))
      order by approved_at desc, origin desc, approval_id desc limit $6`,
    [
      filter.origin ?? null,
      filter.subject ?? null,
      after?.at ?? null,
      ...(after ? ticketPlace(after.id) : [null, null]),
      limit + 1,
    ],
  );
  const items = rows.slice(0, limit);
  const last = items.at(-1);
  const next =
    rows.length > limit && last
      ? encodeCursor({
          at: last.approved_at,
          id: Buffer.from(`${last.origin}\n${last.approval_id}`).toString('hex'),
        })
      : null;
  return { items: items.map(importedApproval), next };
}

/** When each repository's host was last fully synced, in microseconds; those never are left out. */
export async function findHostSyncs(db: Db, repos: readonly string[]): Promise<Map<string, number>> {
  const { rows } = await db.query<{ name: string; synced_at: string }>(
    'select name, synced_at from repos where name = any($1::text[]) and synced_at is not null',
    [repos],
  );
  return new Map(rows.map((row) => [row.name, micros(row.synced_at)]));
}
