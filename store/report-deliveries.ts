import type { ClientBase } from 'pg';

/** What was delivered. */
export interface DeliveredFile {
  name: string;
  sha256: string;
  bytes: number;
}

/** Up to when periods of a delivery were noted, whatever became of them; RFC 3339. Undefined: none was yet. */
export async function findNotedUntil(client: ClientBase, name: string): Promise<string | undefined> {
  const { rows } = await client.query<{ until: string | null }>(
    'select max(until) as until from report_deliveries where name = $1',
    [name],
  );
  return rows[0]?.until ?? undefined;
}

/** Notes periods that have ended; those that are noted stay as they are. */
export async function notePeriods(
  client: ClientBase,
  name: string,
  periods: ReadonlyArray<{ since: string; until: string }>,
  now: Date,
): Promise<void> {
  await client.query(
    `insert into report_deliveries (name, since, until, next_attempt_at)
     select $1, p.since, p.until, $4 from unnest($2::timestamptz[], $3::timestamptz[]) as p (since, until)
     on conflict (name, since) do nothing`,
    [name, periods.map(({ since }) => since), periods.map(({ until }) => until), now],
  );
}

/** Periods of a delivery that are to be delivered now, the oldest first. RFC 3339. */
export async function findDuePeriods(
  client: ClientBase,
  name: string,
  now: Date,
): Promise<Array<{ since: string; until: string }>> {
  const { rows } = await client.query<{ since: string; until: string }>(
    `select since, until from report_deliveries
      where name = $1 and delivered_at is null and next_attempt_at <= $2 order by since`,
    [name, now],
  );
  return rows.map(({ since, until }) => ({
    since: new Date(since).toISOString(),
    until: new Date(until).toISOString(),
  }));
}

/** Where a delivery stands: the end of the newest period that was delivered, and how many are still to be. */
export async function findDeliveryState(
  client: ClientBase,
  name: string,
): Promise<{ deliveredUntil: string | null; waiting: number }> {
  const { rows } = await client.query<{ deliveredUntil: string | null; waiting: number }>(
    `select max(until) filter (where delivered_at is not null) as "deliveredUntil",
            count(*) filter (where delivered_at is null)::int as waiting
       from report_deliveries where name = $1`,
    [name],
  );
  return rows[0]!;
}

export async function recordDelivered(
  client: ClientBase,
  name: string,
  since: string,
  delivered: { at: Date; populationDigest: string; files: readonly DeliveredFile[] },
): Promise<void> {
  await client.query(
    `update report_deliveries set delivered_at = $3, population_digest = $4, files = $5, attempts = attempts + 1,
            last_error = null where name = $1 and since = $2`,
    [name, since, delivered.at, delivered.populationDigest, JSON.stringify(delivered.files)],
  );
}

/** Notes a failure; the next try is a minute later, then two, four, ... up to an hour. */
export async function recordDeliveryFailure(
  client: ClientBase,
  name: string,
  since: string,
  failure: { at: Date; error: string },
): Promise<void> {
  await client.query(
    `update report_deliveries set attempts = attempts + 1, last_error = $4,
            next_attempt_at = $3::timestamptz + least(power(2, attempts), 60) * interval '1 minute'
      where name = $1 and since = $2`,
    [name, since, failure.at, failure.error],
  );
}
