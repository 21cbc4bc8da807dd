import type { Pool, PoolClient } from 'pg';
import { decodeApproval } from '../../core/approval/decode-approval.js';
import { type DecodedRow, decodeEach, type RowProblem } from '../../core/approval/decode-each.js';
import type { ImportedApproval } from '../../core/approval/facts.js';
import { decodeJira, type JiraMapping } from '../../core/tickets/jira.js';
import { decodeServiceNow } from '../../core/tickets/servicenow.js';
import { inTransaction } from '../transaction.js';
import { appendApprovals, findContradicted } from './approvals.js';
import { type ToldTicket, upsertTickets } from './change-tickets.js';
import { type DeliveryKey, takeDelivery } from './deliveries.js';

/** What came of an import. */
export interface Imported {
  /** Written. */
  stored: number;
  /** Known already, just so. */
  known: number;
  /** By their rows, from 1; nothing of them was written. */
  problems: RowProblem[];
}

/** How tickets are written: by which system, and for Jira which fields mean what. */
export type TicketShape = { system: 'servicenow' } | { system: 'jira'; mapping: JiraMapping };

/**
 * Imports approvals; what is wrong with one costs no other. An id that stands for another approval already is a problem:
 * what was told once is not rewritten.
 * @param delivery where a webhook brought them; undefined is answered for one that came before
 */
export async function importApprovals(
  pool: Pool,
  items: readonly unknown[],
  origin: string,
  delivery?: DeliveryKey,
): Promise<Imported | undefined> {
  const { decoded, problems } = decodeEach(items, (item) => decodeApproval(item, origin));
  return importRows(pool, delivery, decoded, problems, async (client, rows) => {
    const approvals = rows.map((one) => one.value);
    const stored = await appendApprovals(client, approvals);
    const contradicted = await findContradicted(client, approvals);
    const refused = rows.filter((_, place) => contradicted.has(place)).map((one) => contradiction(one));
    return { stored, refused };
  });
}

function contradiction({ row, value }: DecodedRow<ImportedApproval>): RowProblem {
  const id = JSON.stringify(value.id);
  return { row, problem: `id: ${id} stands for another approval already; an approval is not rewritten` };
}

/** Imports tickets, as importApprovals does; one that changed gets a new state, and its former ones stay. */
export async function importTickets(
  pool: Pool,
  items: readonly unknown[],
  shape: TicketShape,
  now: Date,
  delivery?: DeliveryKey,
): Promise<Imported | undefined> {
  const { decoded, problems } = decodeEach(
    items,
    (item): ToldTicket =>
      shape.system === 'servicenow' ? decodeServiceNow(item) : decodeJira(item, shape.mapping),
  );
  return importRows(pool, delivery, decoded, problems, async (client, rows) => {
    const told = rows.map((one) => one.value);
    return { stored: await upsertTickets(client, told, now), refused: [] };
  });
}

type Write<T> = (
  client: PoolClient,
  rows: readonly DecodedRow<T>[],
) => Promise<{ stored: number; refused: RowProblem[] }>;

async function importRows<T>(
  pool: Pool,
  delivery: DeliveryKey | undefined,
  decoded: readonly DecodedRow<T>[],
  problems: RowProblem[],
  write: Write<T>,
): Promise<Imported | undefined> {
  return inTransaction(pool, async (client) => {
    if (delivery && !(await takeDelivery(client, delivery))) return undefined;
    const { stored, refused } = await writeRows(client, decoded, write);
    return {
      stored,
      known: decoded.length - stored - refused.length,
      problems: [...problems, ...refused].sort((a, b) => a.row - b.row),
    };
  });
}

/** Writes all at once; where Postgres refuses something (a text that it can't hold), half by half, so that only that is left out. */
async function writeRows<T>(
  client: PoolClient,
  rows: readonly DecodedRow<T>[],
  write: Write<T>,
): Promise<{ stored: number; refused: RowProblem[] }> {
  if (rows.length === 0) return { stored: 0, refused: [] };
  await client.query('savepoint rows');
  try {
    const written = await write(client, rows);
    await client.query('release savepoint rows');
    return written;
  } catch (error) {
    // 22: data exceptions; 23: constraints. Anything else is not the rows' fault.
    if (!/^2[23]/.test((error as { code?: string }).code ?? '')) throw error;
    await client.query('rollback to savepoint rows');
    if (rows.length === 1) {
      const problem = `it can't be stored: ${(error as Error).message}`;
      return { stored: 0, refused: [{ row: rows[0]!.row, problem }] };
    }
  }
  const half = Math.ceil(rows.length / 2);
  const first = await writeRows(client, rows.slice(0, half), write);
  const second = await writeRows(client, rows.slice(half), write);
  return { stored: first.stored + second.stored, refused: [...first.refused, ...second.refused] };
}
