import type { ClientBase, Pool } from 'pg';
import { ParsedValues } from '../../core/parsed-values.js';
import { formatMicros, parseMicros } from '../../core/timestamp.js';
import type { PolicyVersion } from '../../core/verdict/policy.js';
import type { ChangedVerdict, PolicyTestLine } from '../../core/verdict/policy-test.js';
import { verdictText } from '../../core/verdict/verdict.js';
import { BodyCache } from '../body-cache.js';
import type { GitAnswers } from './commit-facts.js';
import { type Bench, judgeChanges, type People } from './judge.js';
import { Graphs } from './repositories.js';
import { type ChangeKey, findSubjects } from './subjects.js';

const BATCH = 500;
const BODY_CACHE_BYTES = 16 * 1024 * 1024;

interface Current {
  change_id: string;
  micros: string;
  verdict: string;
  reason: string | null;
  environment: string;
}

/**
 * Judges history by another policy, with the facts as they are known now, and yields what would change, the oldest
 * change first, and last a summary. Nothing is written: each batch is read in a transaction that can't. Links are as
 * they would be found by that policy's actors.
 */
export async function* testPolicy(
  pool: Pool,
  clusters: ReadonlyArray<{ id: number; name: string }>,
  window: { since: string; until: string | undefined },
  policy: PolicyVersion,
  means: { git: GitAnswers | undefined; people: People; graphs?: Graphs },
): AsyncGenerator<PolicyTestLine> {
  const bench: Bench = {
    policy,
    git: means.git,
    people: means.people,
    graphs: means.graphs ?? new Graphs(),
    bodyCache: new BodyCache(new ParsedValues(BODY_CACHE_BYTES)),
  };
  const transitions = new Map<string, { before: string; after: string; count: number }>();
  let tested = 0;
  let changed = 0;
  for (const cluster of clusters) {
    let after: ChangeKey | undefined;
    for (;;) {
      const client = await pool.connect();
      let found: ChangedVerdict[];
      try {
        await client.query('begin read only');
        const current = await findCurrent(client, cluster.id, window, after);
        const last = current.at(-1);
        if (!last) break;
        after = { changeID: last.change_id, at: Number(last.micros) };
        tested += current.length;
        found = [];
        const known = new Map(current.map((row) => [row.change_id, row]));
        const keys = current.map((row) => ({ changeID: row.change_id, at: Number(row.micros) }));
        const rows = await findSubjects(client, cluster.id, keys);
        const { judged } = await judgeChanges(client, cluster.id, rows, bench, new Date());
        for (const { row, key, verdict } of judged.sort((a, b) => a.key.at - b.key.at)) {
          const old = known.get(row.change_id)!;
          const before = verdictText(old);
          const text = verdictText(verdict);
          const count = transitions.get(`${before} ${text}`) ?? { before, after: text, count: 0 };
          count.count++;
          transitions.set(`${before} ${text}`, count);
          if (before === text && old.environment === verdict.environment) continue;
          changed++;
          found.push({
            changeID: row.change_id,
            at: formatMicros(key.at),
            cluster: cluster.name,
            object:
              [row.api_group, `${row.resource}/${row.name}`].filter(Boolean).join('/') +
              (row.namespace ? ` in ${row.namespace}` : ''),
            username: row.username,
            before,
            beforeEnvironment: old.environment,
            after: text,
            environment: verdict.environment,
            detail: verdict.detail,
          });
        }
      } finally {
        await client.query('rollback').then(
          () => client.release(),
          (error: Error) => client.release(error),
        );
      }
      for (const item of found) yield { changed: item };
      yield { progress: { tested } };
    }
  }
  const sorted = [...transitions.values()].sort((a, b) => b.count - a.count);
  yield { summary: { policyVersion: policy.version, tested, changed, transitions: sorted } };
}

async function findCurrent(
  client: ClientBase,
  clusterID: number,
  { since, until }: { since: string; until: string | undefined },
  after: ChangeKey | undefined,
): Promise<Current[]> {
  const { rows } = await client.query<Current>(
    `select change_id, (extract(epoch from at) * 1000000)::bigint as micros, verdict, reason, environment from current_verdicts
      where cluster_id = $1 and verdict is not null and (at, change_id) > ($2::timestamptz, $3::uuid)
        and at < coalesce($4::timestamptz, 'infinity')
      order by at, change_id limit $5`,
    [
      clusterID,
      // A microsecond before: the lowest id of the first moment counts too.
      after ? formatMicros(after.at) : formatMicros(Math.max(0, parseMicros(since)! - 1)),
      after?.changeID ?? 'ffffffff-ffff-ffff-ffff-ffffffffffff',
      until ?? null,
      BATCH,
    ],
  );
  return rows;
}
