/** Tables without a cluster_id, which don't grow with a cluster's events: local to one node, or a copy on each. */
export const WITHOUT_CLUSTER: readonly string[] = [
  // Who may do what, and what is set.
  ...['clusters', 'source_credentials', 'api_tokens', 'identity_maps', 'policies', 'retention_policies'],
  // How sources are, and what was refused of them.
  ...[
    'source_health',
    'source_probes',
    'quarantine',
    'refused_batches',
    'receiver_uptimes',
    's3_locations',
    's3_scans',
  ],
  // What git and its hosts said: of repositories, which deploy to any cluster.
  ...[
    'repos',
    'refs',
    'ref_updates',
    'commits',
    'commit_paths',
    'repo_findings',
    'commit_ranges',
    'equivalences',
  ],
  ...['renderings', 'image_commits', 'ci_runs'],
  ...[
    'host_syncs',
    'host_due',
    'host_etags',
    'host_deliveries',
    'pull_requests',
    'pull_request_commits',
    'reviews',
  ],
  ...['permissions', 'pushes', 'bypasses', 'imported_approvals', 'change_tickets', 'change_ticket_states'],
  // Of the whole ledger: its log's tree, its jobs, who asked it what.
  ...[
    'log_tiles',
    'log_size',
    'log_checkpoints',
    'log_keys',
    'job_runs',
    'evidence_cursors',
    'access_events',
  ],
  ...['report_deliveries', 'schema_migrations', 'compacted_partitions'],
];

/**
 * Tables that bear a cluster_id and still are not spread over nodes by it: few rows, joined from everywhere (a copy on
 * each node), or of the whole ledger (the proof log's one sequence, what jobs remember).
 */
export const NOT_DISTRIBUTED: readonly string[] = [
  'sources',
  'syncs',
  'findings',
  'legal_holds',
  'archive_segments',
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
  'Group Key'?: string[];
  Plans?: Plan[];
}

const PARTITION = /_(\d{4}_\d\d|default)$/;

/**
 * Scans of distributed tables that neither are held to a cluster, nor joined or grouped by it: on many nodes they would ask
 * all. What is written is held to the cluster of what is scanned for it; inserts name it, since it is in every key.
 */
export function undistributedScans(plan: Plan, distributed: ReadonlySet<string>): string[] {
  const joined = allConditions(plan);
  const scansBelow = (node: Plan, grouped: boolean): string[] => {
    const name = node['Relation Name'] ?? '';
    const relation = name.replace(PARTITION, '');
    // A partition's conditions bear its alias, joins with it that of the table.
    const alias = relation === name ? node.Alias : node.Alias?.replace(/_\d+$/, '');
    const isBound = () =>
      grouped ||
      node['Node Type'] === 'ModifyTable' ||
      /\bcluster_id\b/.test(ownConditions(node)) ||
      new RegExp(`\\b(${node.Alias}|${alias})\\.cluster_id\\b`).test(joined);
    const below = grouped || (node['Group Key'] ?? []).some((key) => /\bcluster_id\b/.test(key));
    return [
      ...(distributed.has(relation) && !isBound() ? [`${node['Node Type']} of ${relation}`] : []),
      ...(node.Plans ?? []).flatMap((child) => scansBelow(child, below)),
    ];
  };
  return scansBelow(plan, false);
}

function ownConditions(node: Plan): string {
  return [node['Index Cond'], node['Recheck Cond'], node.Filter].filter(Boolean).join(' ');
}

function allConditions(node: Plan): string {
  return [
    ownConditions(node),
    node['Hash Cond'],
    node['Merge Cond'],
    node['Join Filter'],
    ...(node.Plans ?? []).map(allConditions),
  ]
    .filter(Boolean)
    .join(' ');
}
