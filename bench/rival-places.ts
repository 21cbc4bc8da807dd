import type { Pool } from 'pg';
import { type CopiedEvents, copiedAuditID } from './copied-events.js';
import { STEP_SECONDS } from './fill.js';
import type { Place } from './same-questions.js';

/** Primes, so that places go through copies and through what a copy holds, and differ for as long as they can. */
const STRIDES = { copy: 7919, change: 104_729, request: 15_485_863 };

/** So many places that exist, all over the copies; the same for the same ledger. */
export async function placesOf(
  pool: Pool,
  { since, spanMs, copies }: CopiedEvents,
  count: number,
): Promise<Place[]> {
  const begin = new Date(since).toISOString();
  const { rows: changes } = await pool.query<{ at: string }>(
    `select at from changes where cluster_id = 1 and at < $1::timestamptz + interval '${STEP_SECONDS} seconds' order by at, change_id`,
    [begin],
  );
  const { rows: requests } = await pool.query<{ at: string; auditID: string }>(
    `select at, audit_id as "auditID" from events
      where cluster_id = 1 and at < $1::timestamptz + interval '${STEP_SECONDS} seconds' order by at, audit_id`,
    [begin],
  );
  const { rows: namespaces } = await pool.query<{ namespace: string }>(
    `select namespace from objects where resource = 'deployments' and name = 'web' order by namespace`,
  );
  const end = new Date(since + copies * STEP_SECONDS * 1000 + spanMs + 1000).toISOString();
  const places: Place[] = [];
  for (let i = 0; i < count; i++) {
    const copy = ((i + 1) * STRIDES.copy) % (copies + 1);
    const change = changes[((i + 1) * STRIDES.change) % changes.length]!;
    const request = requests[((i + 1) * STRIDES.request) % requests.length]!;
    const { rows } = await pool.query<{ auditID: string }>(
      `select audit_id as "auditID" from events
        where cluster_id = 1 and at = $1::timestamptz + $2 * interval '${STEP_SECONDS} seconds' order by audit_id limit 1`,
      [request.at, copy],
    );
    places.push({
      namespace: namespaces[i % namespaces.length]!.namespace,
      at: new Date(Date.parse(change.at) + copy * STEP_SECONDS * 1000).toISOString(),
      end,
      auditID: rows[0]!.auditID,
      rivalAuditID: copiedAuditID(request.auditID, copy),
    });
  }
  return places;
}
