import type { ClientBase } from 'pg';

/** What was delivered. */
export interface DeliveredFile {
  name: string;
  sha256: string;
  bytes: number;
}

/** Whether a period of a delivery is to be delivered now; notes it where it is new. */
export async function isDeliveryDue(
  client: ClientBase,
  name: string,
  period: { since: string; until: string },
  now: Date,
): Promise<boolean> {
  await client.query(
    `insert into report_deliveries (name, since, until, next_attempt_at) values ($1, $2, $3, $4)
     on conflict (name, since) do nothing`,
    [name, period.since, period.until, now],
  );
  const { rowCount } = await client.query(
    'select from report_deliveries where name = $1 and since = $2 and delivered_at is null and next_attempt_at <= $3',
    [name, period.since, now],
  );
  return rowCount === 1;
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
