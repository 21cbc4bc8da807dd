import { readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { World } from './world.js';

const PATIENCE_MS = 240_000;
/** When it is looked into what is slow. */
const SLOW_MS = 15_000;

/** What is still behind: empty once all that was taken is in the ledger, and looked at. */
async function behind({ pool, replicas, s3, traffic }: World): Promise<string[]> {
  const left: string[] = [];
  for (const replica of replicas.filter(({ receives }) => receives)) {
    const files = readdirSync(replica.spoolDir).filter((name) => name.endsWith('.spool'));
    if (files.length > 0) left.push(`${replica.name} has ${files.length} spool files`);
  }
  const { rows } = await pool.query<{ events: string; unattributed: string; unlogged: boolean }>(
    `select (select coalesce(sum(stored), 0) from source_objects) as events,
            (select count(*) from changes c left join job_cursors j on j.job = 'attribute' and j.cluster_id = c.cluster_id
              where c.seq > coalesce(j.seq, -1)) as unattributed`,
  );
  const expected = s3.sessions.length * traffic.eventsPerSession;
  if (Number(rows[0]!.events) < expected)
    left.push(`${expected - Number(rows[0]!.events)} events of the bucket are to be read`);
  if (Number(rows[0]!.unattributed) > 0) left.push(`${rows[0]!.unattributed} changes are to be attributed`);
  return left;
}

/** Waits until everything is caught up with. Returns the seconds it took, and what was left where it never was. */
export async function recovery(world: World): Promise<{ seconds: number; left: string[] }> {
  const began = performance.now();
  let left: string[] = [];
  let reported = false;
  while (performance.now() - began < PATIENCE_MS) {
    left = await behind(world).catch((error: Error) => [`Postgres says: ${error.message}`]);
    if (left.length === 0) break;
    if (!reported && performance.now() - began > SLOW_MS) {
      reported = true;
      console.log(`  still waits for ${left.join(', ')}`);
      for (const line of await slowest(world).catch(() => [])) console.log(`  ${line}`);
    }
    await sleep(250);
  }
  return { seconds: (performance.now() - began) / 1000, left };
}

/** The longest runs of jobs in the last minutes, and what Postgres is at work on: where a recovery was slow. */
async function slowest({ pool }: World): Promise<string[]> {
  const { rows } = await pool.query<{ line: string }>(
    `(select job || ' ran ' || round(extract(epoch from finished_at - started_at)::numeric, 1) || ' s until '
             || to_char(finished_at, 'HH24:MI:SS') || ', ' || rows || ' rows' || coalesce(': ' || error, '') as line
        from job_runs where finished_at > now() - interval '3 minutes' order by finished_at - started_at desc limit 5)
     union all
     select round(extract(epoch from now() - query_start)::numeric, 1) || ' s ' || state || ': ' || left(query, 120)
       from pg_stat_activity
      where state <> 'idle' and pid <> pg_backend_pid() and query_start < now() - interval '1 second'`,
  );
  return rows.map(({ line }) => line);
}
