/**
 * Tables that bear a cluster_id and still are not spread over nodes by it: few rows, joined from everywhere (a copy on
 * each node), or of the whole ledger (the proof log's one sequence, what jobs remember).
 */
export const NOT_DISTRIBUTED: readonly string[] = [
  'sources',
  'syncs',
  'findings',
  'legal_holds',
  'job_cursors',
  'log_pending',
  'log_runs',
  'log_late',
];

/** A node of `explain (format json)`, as far as it is looked at. */
export interface Plan {
  'Node Type': string;
  'Relation Name'?: string;
  Alias?: string;
  'Index Cond'?: string;
  'Recheck Cond'?: string;
  Filter?: string;
  'Hash Cond'?: string;
  'Merge Cond'?: string;
  'Join Filter'?: string;
  Plans?: Plan[];
}

/** Scans of distributed tables that neither are held to a cluster nor joined by it: on many nodes they would ask all. */
export function undistributedScans(plan: Plan, distributed: ReadonlySet<string>, joined = ''): string[] {
  const relation = (plan['Relation Name'] ?? '').replace(/_(\d{4}_\d\d|default)$/, '');
  const own = `${plan['Index Cond']} ${plan['Recheck Cond']} ${plan.Filter}`;
  const found =
    distributed.has(relation) && !/\bcluster_id\b/.test(own) && !joined.includes(`${plan.Alias}.cluster_id`)
      ? [`${plan['Node Type']} of ${relation}`]
      : [];
  const conditions = `${joined} ${plan['Hash Cond']} ${plan['Merge Cond']} ${plan['Join Filter']}`;
  return [
    ...found,
    ...(plan.Plans ?? []).flatMap((child) => undistributedScans(child, distributed, conditions)),
  ];
}
