import type { ClientBase, Pool } from 'pg';
import { type FoundObject, type Recorded, recordObjects, type Trouble } from './source-objects.js';

/** A listing that this process goes on with until its lease ends. */
export interface LeasedScan {
  id: number;
  sourceID: number;
  kind: 'follow' | 'backfill';
  since: string | null;
  until: string | null;
  lookBackSeconds: number;
  /** full: every key. recent: what may have come since the last pass, within the look-back. */
  pass: 'full' | 'recent';
  passStartedAt: string;
  /** Everything up to it is recorded. */
  afterKey: string | null;
  /** When the last complete pass began. */
  listedAt: string | null;
  attempts: number;
  leaseToken: string;
}

interface ScanRow {
  id: number;
  source_id: number;
  kind: 'follow' | 'backfill';
  since: string | null;
  until: string | null;
  look_back_seconds: number;
  pass: 'full' | 'recent';
  pass_started_at: string;
  after_key: string | null;
  listed_at: string | null;
  attempts: number;
  lease_token: string;
}

/**
 * Takes a listing that is due, and begins its next pass where none is going on: a full one the first time and every
 * `fullSeconds`, else a recent one. A pass that was interrupted goes on where its checkpoint is.
 */
export async function leaseScan(
  pool: Pool,
  lease: { owner: string; seconds: number; fullSeconds: number },
): Promise<LeasedScan | undefined> {
  const { rows } = await pool.query<ScanRow>({
    name: 'lease-scan',
    text: `with due as (
             select c.id from s3_scans c join sources s on s.id = c.source_id and s.disabled_at is null
              where c.state = 'active' and c.due_at <= now()
              order by c.due_at limit 1 for update of c skip locked)
           update s3_scans c set
             lease_token = gen_random_uuid(), lease_owner = $1, due_at = now() + $2 * interval '1 second',
             pass = coalesce(c.pass, case when c.full_listed_at > now() - $3 * interval '1 second' then 'recent' else 'full' end),
             pass_started_at = coalesce(c.pass_started_at, now()),
             keys = case when c.pass is null then 0 else c.keys end
           from due where c.id = due.id
           returning c.id, c.source_id, c.kind, c.since, c.until, c.look_back_seconds, c.pass, c.pass_started_at, c.after_key,
                     c.listed_at, c.attempts, c.lease_token`,
    values: [lease.owner, lease.seconds, lease.fullSeconds],
  });
  const row = rows[0];
  return (
    row && {
      id: row.id,
      sourceID: row.source_id,
      kind: row.kind,
      since: row.since,
      until: row.until,
      lookBackSeconds: row.look_back_seconds,
      pass: row.pass,
      passStartedAt: row.pass_started_at,
      afterKey: row.after_key,
      listedAt: row.listed_at,
      attempts: row.attempts,
      leaseToken: row.lease_token,
    }
  );
}

/**
 * Records one page of a listing and moves the checkpoint, in one transaction. Undefined: the lease was lost, and
 * nothing was recorded.
 */
export async function recordPage(
  pool: Pool,
  scan: LeasedScan,
  source: { sourceID: number; clusterID: number; bucket: string },
  page: { found: FoundObject[]; keys: number; afterKey: string },
  leaseSeconds: number,
): Promise<Recorded | undefined> {
  return inTransaction(pool, async (client) => {
    const { rowCount } = await client.query({
      name: 'move-scan',
      text: `update s3_scans set after_key = $3, keys = keys + $4, due_at = now() + $5 * interval '1 second', attempts = 0
              where id = $1 and lease_token = $2 and state = 'active'`,
      values: [scan.id, scan.leaseToken, page.afterKey, page.keys, leaseSeconds],
    });
    if (rowCount !== 1) return undefined;
    return recordObjects(client, source, page.found, scan.kind === 'backfill' ? scan.id : null);
  });
}

/** Ends a pass. A backfill is listed then; a source that is followed is listed again after `againSeconds`. */
export async function finishPass(pool: Pool, scan: LeasedScan, againSeconds: number): Promise<void> {
  await pool.query({
    name: 'finish-pass',
    text: `update s3_scans set
             listed_at = pass_started_at, full_listed_at = case when pass = 'full' then pass_started_at else full_listed_at end,
             pass = null, pass_started_at = null, after_key = null, attempts = 0, error = null, error_at = null,
             lease_token = null, lease_owner = null, due_at = now() + $3 * interval '1 second',
             state = case when kind = 'backfill' then 'listed' else state end
            where id = $1 and lease_token = $2 and state = 'active'`,
    values: [scan.id, scan.leaseToken, againSeconds],
  });
}

/** Lets a listing go in mid-pass, to go on from its checkpoint later. Without trouble it was only interrupted. */
export async function releaseScan(
  pool: Pool,
  scan: LeasedScan,
  retrySeconds: number,
  trouble?: Trouble,
): Promise<void> {
  await pool.query({
    name: 'release-scan',
    text: `update s3_scans set
             lease_token = null, lease_owner = null, due_at = now() + $3 * interval '1 second',
             attempts = attempts + case when $4::jsonb is null then 0 else 1 end,
             error = coalesce($4::jsonb, error), error_at = case when $4::jsonb is null then error_at else now() end
            where id = $1 and lease_token = $2`,
    values: [scan.id, scan.leaseToken, retrySeconds, trouble ? JSON.stringify(trouble) : null],
  });
}

/** Has a source listed as soon as somebody can: a notification told of an object without saying enough. */
export async function hastenScan(pool: Pool, sourceID: number): Promise<void> {
  await pool.query(
    `update s3_scans set due_at = now() where source_id = $1 and kind = 'follow' and lease_token is null`,
    [sourceID],
  );
}

async function inTransaction<T>(pool: Pool, run: (client: ClientBase) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    await client.query('begin');
    const result = await run(client);
    await client.query('commit');
    return result;
  } catch (error) {
    broken = error as Error;
    await client.query('rollback').catch(() => undefined);
    throw error;
  } finally {
    client.release(broken);
  }
}
