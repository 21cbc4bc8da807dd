import fastify, { type FastifyInstance } from 'fastify';
import { Kysely, PostgresDialect } from 'kysely';
import type { ClientBase } from 'pg';
import { Registry } from 'prom-client';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { registerApi } from '../../api/api.js';
import { Auth } from '../../api/auth.js';
import { fillLedger } from '../../bench/fill.js';
import { Traffic } from '../../bench/traffic.js';
import { NO_HOOK_SECRETS } from '../../core/hosts/hook-secrets.js';
import { Identities } from '../../core/identity-map/identities.js';
import { loadIdentities } from '../../main/identities.js';
import { BUILT_IN_POLICY } from '../../main/policy-file.js';
import { createApiToken } from '../../store/api-tokens.js';
import { ensurePartitions, monthOf } from '../../store/partitions.js';
import { readPolicyText } from '../../store/policy-text.js';
import type { Database } from '../../store/schema.js';
import { peopleOf } from '../../store/verdicts/people.js';
import { withClient } from '../harness/database.js';
import { startReceiver, type TestReceiver } from '../harness/receiver.js';
import { NOT_DISTRIBUTED, type Plan, undistributedScans } from './distributed.js';

/** Enough for the planner to shun what reads a whole table; bench/questions.ts measures at any size. */
const EVENTS = 130_000;
/** Of two and a half years, as a ledger has them. */
const MONTHS = 30;
/** The tables that grow with every event, and the dictionary that a list must not read for each of its rows. */
const GROWING = /^(event_rows|changes)_\d{4}_\d\d$|^bodies$|^event_contexts$/;
/** To read one that has fewer rows is no mistake. */
const BIG_ROWS = 500;

let receiver: TestReceiver;
let server: FastifyInstance;
let token: string;
const asked: Array<{ sql: string; parameters: readonly unknown[] }> = [];

beforeAll(async () => {
  receiver = await startReceiver();
  for (const { body } of new Traffic().batches([0])) expect((await receiver.post(body)).status).toBe(200);
  const { pool } = receiver.database;
  // Postgres expects a row of each month that there is where it looks one up by a key that only running it tells.
  const first = monthOf(Date.UTC(2026, 11) * 1000);
  const months = Array.from({ length: MONTHS }, (_, i) => first + i);
  await withClient(pool, (partitioned) => ensurePartitions(partitioned, months));
  await fillLedger(pool, EVENTS, () => undefined);
  const sizes = await pool.query<{ name: string }>(
    `select relname::text as name from pg_class where relkind = 'r' and reltuples >= $1`,
    [BIG_ROWS],
  );
  big = new Set(sizes.rows.map(({ name }) => name).filter((name) => GROWING.test(name)));
  expect([...big]).toEqual(
    expect.arrayContaining(['event_contexts', 'event_rows_2026_12', 'changes_2026_12']),
  );
  const db = new Kysely<Database>({
    dialect: new PostgresDialect({ pool }),
    log: ({ query }) => void asked.push({ sql: query.sql, parameters: query.parameters }),
  });
  const tables = await pool.query<{ name: string }>(
    `select table_name::text as name from information_schema.columns where column_name = 'cluster_id' and table_schema = 'public'`,
  );
  distributed = new Set(
    tables.rows.map(({ name }) => name).filter((name) => !NOT_DISTRIBUTED.includes(name)),
  );
  const client = await pool.connect();
  token = await createApiToken(client, { name: 'asker', role: 'admin' });
  client.release();
  server = fastify() as unknown as FastifyInstance;
  await registerApi(server, {
    db,
    pool,
    auth: new Auth(db, pool),
    limits: { requestsPerMinute: 1200, failedLoginsPerMinute: 60 },
    registry: new Registry(),
    version: 'test',
    roles: ['api'],
    pageFolder: '/nonexistent',
    kubeconfig: () => '',
    gate: {
      pool,
      policy: () => Promise.resolve(BUILT_IN_POLICY),
      git: undefined,
      people: peopleOf(loadIdentities(undefined)),
    },
    gateManifest: () => '',
    issueClientCertificate: () => Promise.reject(new Error('not asked for')),
    replay: undefined,
    importFile: undefined,
    formats: [],
    runJob: undefined,
    pokeJob: () => undefined,
    repoProtocols: [],
    alerts: undefined,
    identities: new Identities([]),
    judging: {
      policy: async () => readPolicyText('name: none\n', 'none'),
      git: undefined,
      people: peopleOf(new Identities([])),
    },
    archive: undefined,
    spoolStatus: undefined,
    hookSecrets: () => NO_HOOK_SECRETS,
    sourcesChanged: () => Promise.resolve(),
  });
}, 120_000);
afterAll(async () => {
  await server.close();
  await receiver.stop();
});

function scansOfBigTables(plan: Plan): string[] {
  const own =
    plan['Node Type'].includes('Seq Scan') && big.has(plan['Relation Name'] ?? '')
      ? [`${plan['Node Type']} of ${plan['Relation Name']}`]
      : [];
  return [...own, ...(plan.Plans ?? []).flatMap(scansOfBigTables)];
}

let distributed: ReadonlySet<string>;
let big: ReadonlySet<string>;

let named = 0;

async function planOf(client: ClientBase, explain: string, parameters: readonly unknown[]): Promise<Plan> {
  const { rows } = await client.query<{ 'QUERY PLAN': Array<{ Plan: Plan }> }>(explain, [...parameters]);
  return rows[0]!['QUERY PLAN'][0]!.Plan;
}

/** What was asked since the last time, planned for its values; statements that are prepared are planned without, too. */
async function expectGoodPlans(): Promise<void> {
  const client = await receiver.database.pool.connect();
  try {
    const questions = asked
      .splice(0)
      .filter(({ sql }) => /^\s*(\/\*prepared\*\/\s*)?\(?(with|select)/i.test(sql));
    expect(questions.length).toBeGreaterThan(0);
    for (const { sql, parameters } of questions) {
      const plans = [await planOf(client, `explain (format json) ${sql}`, parameters)];
      if (sql.startsWith('/*prepared*/')) {
        await client.query('set plan_cache_mode = force_generic_plan');
        const name = `q${named++}`;
        await client.query({ name, text: sql, values: [...parameters] });
        // What is given matters as little to this plan as it did when the plan was made.
        const given = parameters.length > 0 ? `(${parameters.map(() => 'null').join(', ')})` : '';
        plans.push(await planOf(client, `explain (format json) execute ${name}${given}`, []));
        await client.query('reset plan_cache_mode');
      }
      for (const plan of plans) {
        expect(scansOfBigTables(plan), sql).toEqual([]);
        expect(undistributedScans(plan, distributed), sql).toEqual([]);
      }
    }
  } finally {
    client.release(true);
  }
}

const WEB = '/v1/objects/prod/apps/deployments/shop-0/web';
const DAY = 'since=2026-12-01T00:00:00Z&until=2026-12-02T00:00:00Z';

it.each([
  '/v1/changes',
  `/v1/changes?${DAY}`,
  `/v1/changes?namespace=shop-0&${DAY}`,
  '/v1/changes?namespace=shop-0',
  '/v1/changes?resource=deploy&name=web&namespace=shop-0',
  '/v1/changes?name=web*',
  '/v1/changes?label=app%3Dweb',
  '/v1/changes?actor=alice@example.com',
  '/v1/changes?actor=system:serviceaccount:ci:*',
  '/v1/changes?tool=session-script',
  '/v1/changes?tool=never-seen',
  '/v1/changes?verb=deletecollection',
  '/v1/changes?kind=rbac_grant',
  '/v1/changes?resource=statefulsets',
  '/v1/changes?field=spec.template.spec.containers%5B%2A%5D.image',
  `/v1/changes?all=true&${DAY}`,
  '/v1/changes?all=true&namespace=shop-0',
  '/v1/changes?class=derived&namespace=shop-0&resource=pods',
  '/v1/changes?class=rejected',
  '/v1/changes?after_seq=7&cluster=prod',
  '/v1/changes?after_seq=7&cluster=prod&namespace=shop-0',
  '/v1/changes/last-seq',
  `/v1/changes/density?${DAY}`,
  `/v1/changes/density?all=true&namespace=shop-0&kind=scale&${DAY}`,
  `/v1/changes/density?class=rejected&${DAY}`,
  `${WEB}/history`,
  `${WEB}/state?at=2026-12-01T00:00:00Z`,
  `${WEB}/compare?from=2026-12-01T00:00:00Z&to=2026-12-02T00:00:00Z`,
  `${WEB}/rollback?to=2026-11-24T13:38:05Z`,
  `/v1/actors/bob@example.com/activity?${DAY}`,
  '/v1/access',
  '/v1/access?all=true',
  '/v1/secret-reads',
  '/v1/events?auditID=f3e74a97-5be4-48ad-a709-229f99eb4153',
  '/v1/events',
  '/v1/events?class=secret_read',
  '/v1/quarantine',
  `/v1/verdicts/weeks?${DAY}`,
  '/v1/alerts',
  '/v1/alert-deliveries',
  '/v1/sources',
  '/v1/findings',
])('%s reads no big table whole', async (url) => {
  asked.length = 0;
  const answer = await server.inject({ url, headers: { authorization: `Bearer ${token}` } });
  expect([url, answer.statusCode < 500]).toEqual([url, true]);
  await expectGoodPlans();
});

it('reads one change, and one event, by index', async () => {
  const ids = await receiver.database.pool.query(
    `select change_id, (select (extract(epoch from e.at) * 1000000)::bigint || '-' || encode(e.digest, 'hex') || '-' || e.source_id from events e limit 1) as event_id from changes limit 1`,
  );
  for (const url of [`/v1/changes/${ids.rows[0].change_id}`, `/v1/events/${ids.rows[0].event_id}`]) {
    asked.length = 0;
    const answer = await server.inject({ url, headers: { authorization: `Bearer ${token}` } });
    expect(answer.statusCode).toBe(200);
    await expectGoodPlans();
  }
});
