import { type Kysely, sql } from 'kysely';
import type { Engine } from '../../core/drift/application-drift.js';
import type { Database } from '../schema.js';
import { findClusters } from './change-filter.js';
import { type Page, pageOf } from './cursor.js';

export interface ApplicationFilter {
  clusters?: string[] | undefined;
  namespaces?: string[] | undefined;
  names?: string[] | undefined;
  engines?: Engine[] | undefined;
}

/** An object of a GitOps controller that brings others: an Application, a Kustomization, a HelmRelease. */
export interface ApplicationRow {
  cluster_id: number;
  cluster: string;
  engine: Engine;
  object_id: string;
  namespace: string;
  name: string;
}

/** Pages are ordered by names, which have no time. */
const NO_TIME = '1970-01-01T00:00:00.000000Z';
const ENGINE = sql`case o.resource when 'applications' then 'argocd' when 'kustomizations' then 'flux' else 'helm' end`;

/**
 * The applications that the ledger knows, by cluster, namespace and name; those that were deleted too.
 * @param cursor where the page before ended
 */
export async function findApplications(
  db: Kysely<Database>,
  filter: ApplicationFilter,
  cursor: { at: string; id: string } | undefined,
  limit: number,
): Promise<Page<ApplicationRow>> {
  const clusters = await findClusters(db, filter.clusters);
  const conditions = [
    sql`o.cluster_id = any(${clusters.map(({ id }) => id)}::integer[])`,
    // As the index objects_applications has it; then the groups that go with the resources.
    sql`o.api_group in ('argoproj.io', 'kustomize.toolkit.fluxcd.io', 'helm.toolkit.fluxcd.io')
        and o.resource in ('applications', 'kustomizations', 'helmreleases')`,
    sql`(o.api_group, o.resource) in (('argoproj.io', 'applications'), ('kustomize.toolkit.fluxcd.io', 'kustomizations'),
        ('helm.toolkit.fluxcd.io', 'helmreleases'))`,
    sql`o.name <> ''`,
  ];
  if (filter.namespaces?.length) conditions.push(sql`o.namespace = any(${filter.namespaces}::text[])`);
  if (filter.names?.length) conditions.push(sql`o.name = any(${filter.names}::text[])`);
  if (filter.engines?.length) conditions.push(sql`${ENGINE} = any(${filter.engines}::text[])`);
  if (cursor) {
    const [cluster, namespace, name, resource] = placeOf(cursor.id);
    conditions.push(
      sql`(o.cluster_id, o.namespace, o.name, o.resource) > (${cluster}::integer, ${namespace}, ${name}, ${resource})`,
    );
  }
  const { rows } = await sql<ApplicationRow & { resource: string }>`
    select o.cluster_id, k.name as cluster, ${ENGINE} as engine, o.id as object_id, o.namespace, o.name, o.resource
      from objects o join clusters k on k.id = o.cluster_id
     where ${sql.join(conditions, sql` and `)}
     order by o.cluster_id, o.namespace, o.name, o.resource limit ${limit + 1}`.execute(db);
  const page = pageOf(rows, limit, (row) => ({
    at: NO_TIME,
    id: Buffer.from(JSON.stringify([row.cluster_id, row.namespace, row.name, row.resource])).toString('hex'),
  }));
  return { items: page.items.map(({ resource: _, ...row }) => row), next: page.next };
}

function placeOf(id: string): [number, string, string, string] {
  return JSON.parse(Buffer.from(id, 'hex').toString('utf8')) as [number, string, string, string];
}
