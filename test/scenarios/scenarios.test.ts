import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { parseMicros } from '../../core/timestamp.js';
import { excludedReason, verdictText } from '../../core/verdict/verdict.js';
import type { EventClass } from '../../core/vocabulary.js';
import { createTestDatabase, type TestDatabase } from '../harness/database.js';
import { type Expectation, microsOf, readScenarios, readShared, type Scenario, timeOf } from './scenario.js';
import { type Told, tellScenarios } from './tell.js';

const scenarios = readScenarios();
let database: TestDatabase;
let told: Told;

beforeAll(async () => {
  database = await createTestDatabase();
  told = await tellScenarios(database.pool, scenarios);
}, 120_000);

afterAll(async () => {
  await told?.stop();
  await database?.drop();
});

interface Found {
  change_id: string;
  at: string;
  username: string;
  impersonated: string | null;
  verdict: string | null;
  reason: string | null;
  detail: string | null;
  document: {
    commits: Array<{ sha: string }>;
    evidence: Array<{ detail: string }>;
    hazards: string[];
    initiator?: { username?: string };
    triggerChangeID?: string;
  } | null;
  root_verdict: string | null;
  root_reason: string | null;
  rule: string | null;
  strength: string | null;
  shas: string[] | null;
  trigger: string | null;
}

async function find(scenario: Scenario, change: string): Promise<Found> {
  const [object, at] = change.split(' at ') as [string, string];
  const [resource, name] = object.split('/') as [string, string];
  const { rows } = await told.client.query<Found>(
    `select c.change_id, c.at, u.username, i.username as impersonated, v.verdict, v.reason, v.detail, v.document, v.root_verdict,
            v.root_reason, l.rule, l.strength, l.shas, tu.username as trigger
       from changes c
       join users u on u.cluster_id = c.cluster_id and u.id = c.user_id
       left join users i on i.cluster_id = c.cluster_id and i.id = c.impersonated_user_id
       left join lateral (select * from verdicts w where w.cluster_id = c.cluster_id and w.at = c.at and w.change_id = c.change_id
                           order by id desc limit 1) v on true
       left join links l on l.cluster_id = c.cluster_id and l.at = c.at and l.change_id = c.change_id and l.selected
       left join attributions a on a.cluster_id = c.cluster_id and a.change_id = c.change_id
       left join changes t on t.cluster_id = c.cluster_id and t.at = a.trigger_at and t.change_id = a.trigger_change_id
       left join users tu on tu.cluster_id = t.cluster_id and tu.id = t.user_id
      where c.cluster_id = $1 and c.resource = $2 and c.name = $3 and date_trunc('second', c.at) = $4`,
    [told.clusters.get(scenario)!.clusterID, resource, name, timeOf(at)],
  );
  expect(
    rows.map((row) => row.change_id),
    `${change}: changes`,
  ).toHaveLength(1);
  return rows[0]!;
}

/** What came of a change, in the words of the scenario: only what it asks for. */
async function outcome(scenario: Scenario, expected: Expectation): Promise<Expectation> {
  const found = await find(scenario, expected.change);
  const names = new Map(
    [...told.repositories.get(scenario)!.values()].flatMap(({ shas }) =>
      [...shas].map(([name, sha]) => [sha, name] as const),
    ),
  );
  const text = JSON.stringify([found.detail, found.document]);
  return {
    change: expected.change,
    verdict: verdictText({ verdict: found.verdict ?? 'none', reason: found.reason }),
    ...(expected.link !== undefined && {
      link: found.rule === null ? 'none' : `${found.rule} ${found.strength}`,
    }),
    ...(expected.commits && {
      commits: (found.document?.commits ?? []).map(({ sha }) => names.get(sha) ?? sha).sort(),
    }),
    ...(expected.root !== undefined && {
      root:
        found.root_verdict === null
          ? 'none'
          : verdictText({ verdict: found.root_verdict, reason: found.root_reason }),
    }),
    ...(expected.trigger !== undefined && { trigger: found.trigger ?? 'nobody' }),
    ...(expected.actor !== undefined && {
      actor: found.impersonated === null ? found.username : `${found.username} as ${found.impersonated}`,
    }),
    ...(expected.initiator !== undefined && { initiator: found.document?.initiator?.username ?? 'nobody' }),
    ...(expected.says && { says: expected.says.filter((part) => text.includes(part)) }),
  };
}

describe.each(
  scenarios.map((scenario) => [scenario.file.replace('.yaml', ''), scenario.title, scenario] as const),
)('%s', (_file, title, scenario) => {
  it(title, async () => {
    const found = [];
    for (const expected of scenario.expect) found.push(await outcome(scenario, expected));
    expect(found).toEqual(
      scenario.expect.map((expected) => ({
        ...expected,
        ...(expected.commits && { commits: [...expected.commits].sort() }),
      })),
    );
    const clusterID = told.clusters.get(scenario)!.clusterID;
    for (const { request, because } of scenario.excluded ?? []) {
      const [uri, at] = request.split(' at ') as [string, string];
      const { rows } = await told.client.query<{ class: EventClass; change: boolean }>(
        `select e.class, exists (select from changes c where c.cluster_id = $1 and c.at = e.at and c.change_id = e.request_id) as change
           from events e where e.cluster_id = $1 and e.request_uri like $2 and date_trunc('second', e.at) = $3`,
        [clusterID, `%${uri}%`, timeOf(at)],
      );
      expect(rows, request).toEqual([{ class: because, change: false }]);
      expect(excludedReason(because as EventClass)).toBeDefined();
    }
    for (const [object, count] of Object.entries(scenario.count ?? {})) {
      const [resource, name] = object.split('/');
      const { rows } = await told.client.query<{ n: number }>(
        `select count(*)::int as n from changes where cluster_id = $1 and resource = $2 and name = $3 and class <> 'status'`,
        [clusterID, resource, name],
      );
      expect({ [object]: rows[0]!.n }).toEqual({ [object]: count });
    }
    if (scenario.findings) {
      const { rows } = await told.client.query<{ kind: string }>(
        'select kind from findings where cluster_id = $1 order by kind',
        [clusterID],
      );
      expect(rows.map(({ kind }) => kind)).toEqual(scenario.findings);
    }
  });
});

it('covers all forty, and what they leave out', () => {
  expect(scenarios.map(({ number }) => number)).toEqual(Array.from({ length: 54 }, (_, i) => i + 1));
  expect(parse(readShared('policy.yaml'))).toHaveProperty('name');
  expect(parseMicros(timeOf('09:30'))).toBe(microsOf('09:30'));
});
