import type { Pool } from 'pg';
import type { HostKind } from '../git-schema.js';

/** Where a repository stands with its host. Times are RFC 3339. */
export interface HostStatus {
  repo: string;
  host: HostKind;
  project: string;
  api_url: string | null;
  has_credential: boolean;
  disabled_at: string | null;
  synced_at: string | null;
  attempted_at: string | null;
  next_at: string | null;
  failures: number;
  error: string | null;
  due: number;
  limits: string[];
  last_delivery_at: string | null;
}

/** Every repository that has a host, by name. */
export async function findHostStatus(pool: Pool): Promise<HostStatus[]> {
  const { rows } = await pool.query<HostStatus>(
    `select r.name as repo, r.host_kind as host, r.project, r.api_url, r.credential is not null as has_credential,
            r.disabled_at, r.synced_at, r.sync_attempted_at as attempted_at,
            nullif(h.next_at, '-infinity') as next_at, r.sync_failures as failures, r.sync_error as error,
            (select count(*)::integer from host_due d where d.repo_id = r.id) as due, coalesce(h.limits, '{}') as limits,
            (select max(received_at) from host_deliveries d where d.repo_id = r.id) as last_delivery_at
       from repos r left join host_syncs h on h.repo_id = r.id
      where r.host_kind <> 'git' order by r.name`,
  );
  return rows;
}
