import { expect } from 'vitest';
import { Cluster } from './events.js';
import type { TestReceiver } from './receiver.js';

/** So that tests wait for seconds where an operator waits for minutes. */
export const QUICK = { WHOCHANGED_S3_LIST_SECONDS: '1', WHOCHANGED_S3_LEASE_SECONDS: '20' };

export interface ObjectRow {
  id: string;
  key: string;
  etag: string;
  state: string;
  attempts: number;
  size: string;
  position: string;
  events: string;
  stored: string;
  quarantined: string;
  skipped: string;
  salvaged: string;
  /** Until it is tried again, counted from the end of the last attempt. */
  retry_seconds: number | null;
  error: { code: string; message: string; hint?: string } | null;
}

const WAITING = ['new', 'leased', 'failed'];

/** The ledger's rows of a source's objects, by key and in the order they were found. */
export async function objectRows(receiver: TestReceiver, sourceID: number): Promise<ObjectRow[]> {
  const { rows } = await receiver.database.pool.query<ObjectRow>(
    `select id, key, etag, state, attempts, size, position, events, stored, quarantined, skipped, salvaged, error,
            extract(epoch from due_at - finished_at)::float8 as retry_seconds
       from source_objects where source_id = $1 order by key, id`,
    [sourceID],
  );
  return rows;
}

/** The rows, once so many objects wait for nothing more. */
export async function settled(
  receiver: TestReceiver,
  sourceID: number,
  objects: number,
): Promise<ObjectRow[]> {
  await expect
    .poll(
      async () => (await objectRows(receiver, sourceID)).filter((row) => !WAITING.includes(row.state)).length,
      { timeout: 60_000, interval: 50 },
    )
    .toBe(objects);
  return objectRows(receiver, sourceID);
}

/** The row of a key, once it is as it is wanted. */
export async function rowOnce(
  receiver: TestReceiver,
  sourceID: number,
  key: string,
  wanted: (row: ObjectRow) => boolean,
): Promise<ObjectRow> {
  let found: ObjectRow | undefined;
  await expect
    .poll(
      async () => {
        found = (await objectRows(receiver, sourceID)).findLast((row) => row.key === key);
        return found !== undefined && wanted(found);
      },
      { timeout: 60_000, interval: 50, message: `waiting for ${key}` },
    )
    .toBe(true);
  return found!;
}

/** What is due later is due now. */
export async function hasten(receiver: TestReceiver, sourceID: number): Promise<void> {
  await receiver.database.pool.query(
    `update source_objects set due_at = now() where source_id = $1 and state = 'failed'`,
    [sourceID],
  );
  await receiver.database.pool.query(
    `update s3_scans set due_at = now() where source_id = $1 and lease_token is null`,
    [sourceID],
  );
  await receiver.ingest.s3.poke();
}

/** Events of a source in the ledger: all, and how many differ; and the changes of its cluster. */
export async function ledgerCounts(
  receiver: TestReceiver,
  sourceID: number,
): Promise<{ events: number; distinct: number; changes: number }> {
  const { rows } = await receiver.database.pool.query(
    `select count(*)::int as events, count(distinct e.digest)::int as distinct,
            count(distinct (c.change_id))::int as changes
       from events e left join changes c on c.cluster_id = e.cluster_id and c.at = e.at and c.change_id = e.request_id
      where e.source_id = $1`,
    [sourceID],
  );
  return rows[0];
}

/** None lost, none twice: each of so many events is there once, and made its change. */
export const once = (events: number) => ({ events, distinct: events, changes: events });

/** Audit events as a log file has them, one a line. */
export function lines(events: unknown[]): string {
  return events.map((event) => `${JSON.stringify(event)}\n`).join('');
}

/** So many events that each create a Deployment. */
export function deployments(count: number, prefix: string): Array<Record<string, unknown>> {
  const cluster = new Cluster();
  return Array.from({ length: count }, (_, i) =>
    cluster.deployment('create', `${prefix}-${i}`, { image: `web:${i}` }),
  );
}
