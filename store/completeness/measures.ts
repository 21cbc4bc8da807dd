import type { ClientBase } from 'pg';
import type { GapCause } from '../../core/completeness/gap.js';

export interface Measures {
  /** Open gaps of all clusters by cause. */
  gaps: ReadonlyMap<GapCause, number>;
  /** Of enabled sources whose counters are read: the share of the time that is proven complete. */
  complete: Array<{ source: string; ratio: number }>;
}

/** What the metrics tell of completeness. */
export async function findMeasures(client: ClientBase, since: Date, until: Date): Promise<Measures> {
  const gaps = await client.query<{ cause: GapCause; open: number }>(
    `select cause, count(*)::int as open from gaps
      where cluster_id in (select id from clusters) and state = 'open' group by cause`,
  );
  const complete = await client.query<{ source: string; ratio: number }>(
    `select s.name as source,
            coalesce(sum(extract(epoch from least(c.read_until, $2) - greatest(c.previous_until, $1)))
                       filter (where c.verdict = 'complete'), 0)::float8
              / extract(epoch from $2::timestamptz - $1::timestamptz)::float8 as ratio
       from source_probes p
       join sources s on s.id = p.source_id
       left join counter_samples c on c.cluster_id = s.cluster_id and c.source_id = s.id
                                  and c.sampled_at > $1 and c.previous_until < $2
      where p.metrics_url is not null and s.disabled_at is null group by s.name`,
    [since, until],
  );
  return {
    gaps: new Map(gaps.rows.map((row) => [row.cause, row.open])),
    complete: complete.rows.map((row) => ({
      source: row.source,
      ratio: Math.min(1, Math.max(0, row.ratio)),
    })),
  };
}
