import pg from 'pg';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { ask } from '../harness/api-client.js';
import { Cluster, eventList } from '../harness/events.js';
import { type RunningApi, runJob, startApi } from '../harness/running-api.js';
import { listenToStatements } from '../harness/statements.js';
import { NOT_DISTRIBUTED, type Plan, undistributedScans } from './distributed.js';

/**
 * What the system sends while it starts, takes events in, runs each job once and answers each route, planned without its
 * values. What only much else brings about (an alert, a run in CI, a segment of the archive) isn't among it.
 */
const statements = new Set<string>();
let api: RunningApi;
let distributed: Set<string>;

beforeAll(async () => {
  const stopListening = listenToStatements((statement) => statements.add(statement));
  api = await startApi();
  const tables = await api.pool.query<{ name: string }>(
    `select table_name::text as name from information_schema.columns where column_name = 'cluster_id' and table_schema = 'public'`,
  );
  distributed = new Set(
    tables.rows.map(({ name }) => name).filter((name) => !NOT_DISTRIBUTED.includes(name)),
  );
  const cluster = new Cluster();
  await api.post(
    eventList([
      cluster.deployment('create', 'web', { image: 'web:1' }),
      cluster.deployment('update', 'web', { image: 'web:2' }),
    ]),
  );
  const refusal = await ask(api, '/v1/jobs/none/run', { method: 'POST' });
  const jobs = /the jobs are ([^"]+)/.exec(refusal.text)![1]!.split(', ');
  expect(jobs.length).toBeGreaterThan(10);
  for (const job of jobs) await runJob(api, job);
  await askEveryRoute();
  stopListening();
});
afterAll(() => api?.stop());

async function askEveryRoute(): Promise<void> {
  const change = (await ask(api, '/v1/changes')).json.items[0].id;
  const event = (await ask(api, `/v1/changes/${change}`)).json.events[0].eventID;
  const { paths } = (await ask(api, '/openapi.json', { token: null })).json as {
    paths: Record<string, object>;
  };
  for (const [path, methods] of Object.entries(paths)) {
    if (!('get' in methods)) continue;
    const url = path
      .replace(
        '/objects/{cluster}/{group}/{resource}/{namespace}/{name}',
        '/objects/default/apps/deployments/shop/web',
      )
      .replace('/changes/{id}', `/changes/${change}`)
      .replace('{eventID}', event)
      .replace('{username}', 'alice@example.com')
      .replace('{id}', '1')
      .replace(/\{\w+\}/g, 'default');
    expect((await ask(api, url)).status).toBeLessThan(500);
  }
}

it('every statement holds what it reads and writes of a distributed table to clusters', async (context) => {
  const { rows: version } = await api.pool.query(
    `select current_setting('server_version_num')::int as number`,
  );
  // There is no plan without values before.
  context.skip(version[0].number < 160_000, 'needs Postgres 16');
  expect(statements.size).toBeGreaterThan(200);
  const client = new pg.Client(api.databaseURL);
  await client.connect();
  onTestFinished(() => client.end());
  const wrong: string[] = [];
  let planned = 0;
  for (const statement of statements) {
    if (!/^\s*(\/\*.*?\*\/\s*)*\(?(with|select|insert|update|delete)\b/i.test(statement)) continue;
    const { rows } = await client.query<{ 'QUERY PLAN': Array<{ Plan: Plan }> }>(
      `explain (generic_plan, format json) ${statement}`,
    );
    planned++;
    const scans = undistributedScans(rows[0]!['QUERY PLAN'][0]!.Plan, distributed);
    if (scans.length > 0) wrong.push(`${scans.join(', ')}: ${statement}`);
  }
  expect(wrong).toEqual([]);
  expect(planned).toBeGreaterThan(150);
});

it('finds one that asks all nodes', async () => {
  const scansOf = async (statement: string) => {
    const { rows } = await api.pool.query(`explain (format json) ${statement}`);
    return undistributedScans(rows[0]['QUERY PLAN'][0].Plan as Plan, distributed);
  };
  const everywhere = await scansOf(`select from bodies where digest = '\\x00'`);
  expect(everywhere).toEqual([expect.stringMatching(/^\w[\w ]* of bodies$/)]);
  expect(await scansOf(`select from bodies where cluster_id = 1 and digest = '\\x00'`)).toEqual([]);
  expect(await scansOf(`delete from links where change_id = gen_random_uuid()`)).toHaveLength(1);
  expect(await scansOf('select from gaps g join sources s on s.id = g.source_id')).toHaveLength(1);
  expect(await scansOf('select from gaps g join clusters k on k.id = g.cluster_id')).toEqual([]);
  expect(await scansOf('select cluster_id, count(*) from gaps group by 1')).toEqual([]);
});
