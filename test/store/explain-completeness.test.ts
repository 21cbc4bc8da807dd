import { Kysely, PostgresDialect } from 'kysely';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { findCompleteness, findListCompleteness } from '../../store/queries/completeness.js';
import { decodeCursor } from '../../store/queries/cursor.js';
import { findGaps } from '../../store/queries/gaps.js';
import type { Database } from '../../store/schema.js';
import { createTestDatabase, type TestDatabase } from '../harness/database.js';

let database: TestDatabase;
let db: Kysely<Database>;
const asked: Array<{ sql: string; parameters: readonly unknown[] }> = [];
const DAYS = 30;
const NOW = '2026-03-02T00:00:00Z';
const DAY_BEFORE = '2026-03-01T00:00:00Z';

/** Three apiservers of two clusters, read each minute for a month, and a gap each quarter of an hour. */
beforeAll(async () => {
  database = await createTestDatabase();
  const { pool } = database;
  db = new Kysely<Database>({
    dialect: new PostgresDialect({ pool }),
    log: ({ query }) => void asked.push({ sql: query.sql, parameters: query.parameters }),
  });
  await pool.query(`insert into clusters (name) values ('prod'), ('test')`);
  await pool.query(`insert into sources (cluster_id, name, kind)
    select c, 'source-' || c || '-' || n, 'webhook' from unnest(array[1, 1, 2], array[1, 2, 1]) s (c, n)`);
  await pool.query(
    `insert into counter_samples (cluster_id, source_id, sampled_at, read_since, read_until, previous_until, audit_id, answered_ms,
                                  process_started_at, events, errors, rejected, verdict, expected, received, missing_least,
                                  missing_most)
     select s.cluster_id, s.id, t, t, t + interval '5 milliseconds', t - interval '59995 milliseconds', gen_random_uuid()::text, 5,
            '2025-01-01', 1000, '{}', 0, 'complete', 100, 100, 0, 0
       from sources s, generate_series($1::timestamptz - $2 * interval '1 day', $1, interval '1 minute') t`,
    [NOW, DAYS],
  );
  await pool.query(
    `insert into canaries (cluster_id, audit_id, source_id, sent_at, state, seen_at)
     select s.cluster_id, gen_random_uuid(), s.id, t, 'seen', t + interval '3 seconds'
       from sources s, generate_series($1::timestamptz - $2 * interval '1 day', $1, interval '5 minutes') t`,
    [NOW, DAYS],
  );
  await pool.query(
    `insert into gaps (cluster_id, source_id, cause, subject, since, until, missing, evidence, state, closed_at, closed_reason)
     select s.cluster_id, s.id, 'generation_gap', t::text, t, t + interval '1 minute', 1, '{}',
            case when n % 4 = 0 then 'open' else 'closed' end::gap_state, case when n % 4 = 0 then null else t end,
            case when n % 4 = 0 then null else 'late_arrival' end
       from sources s, generate_series(1, $2 * 96) n, lateral (select $1::timestamptz - n * interval '15 minutes' as t) x`,
    [NOW, DAYS],
  );
  await pool.query('analyze counter_samples, canaries, gaps');
});
afterAll(() => database.drop());

interface Plan {
  'Node Type': string;
  'Relation Name'?: string;
  Plans?: Plan[];
}

function scans(plan: Plan): string[] {
  const own =
    plan['Node Type'].includes('Seq Scan') &&
    ['counter_samples', 'canaries', 'gaps'].includes(plan['Relation Name'] ?? '')
      ? [`${plan['Node Type']} of ${plan['Relation Name']}`]
      : [];
  return [...own, ...(plan.Plans ?? []).flatMap(scans)];
}

const month = '2026-02-01T00:00:00Z';
const clusterIDs = [1, 2];
const cursor = decodeCursor(undefined);

it.each<[string, () => Promise<unknown>]>([
  ['a list of changes of a day', () => findListCompleteness(db, clusterIDs, DAY_BEFORE, NOW)],
  ['a list of changes of a month', () => findListCompleteness(db, [1], month, NOW)],
  ['a list of changes without a beginning', () => findListCompleteness(db, clusterIDs, undefined, NOW)],
  [
    'a day by the hour',
    () => findCompleteness(db, { clusterIDs, since: DAY_BEFORE, until: NOW, stepSeconds: 3600 }),
  ],
  [
    'a month by the day',
    () => findCompleteness(db, { clusterIDs, since: month, until: NOW, stepSeconds: 86_400 }),
  ],
  ['the last gaps', () => findGaps(db, { clusterIDs }, cursor, 50)],
  [
    'open gaps of a day',
    () => findGaps(db, { clusterIDs, state: 'open', since: DAY_BEFORE, until: NOW }, cursor, 50),
  ],
])('%s reads no table of completeness from end to end', async (_, run) => {
  asked.length = 0;
  await run();
  expect(asked).toHaveLength(1);
  const { rows } = await database.pool.query(`explain (format json) ${asked[0]!.sql}`, [
    ...asked[0]!.parameters,
  ]);
  expect(scans(rows[0]['QUERY PLAN'][0].Plan as Plan)).toEqual([]);
});
