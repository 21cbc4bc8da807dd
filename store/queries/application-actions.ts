import { type Kysely, sql } from 'kysely';
import type { ApplicationAction, ApplicationActionName } from '../../core/links/application-actions.js';
import type { Database } from '../schema.js';
import { findClusters, timeConditions } from './change-filter.js';
import { type Keyset, type Page, pageOf } from './cursor.js';

export interface ActionFilter {
  clusters?: string[] | undefined;
  namespaces?: string[] | undefined;
  names?: string[] | undefined;
  actions?: ApplicationActionName[] | undefined;
  /** The user of Argo CD, or who wrote the Application. */
  actors?: string[] | undefined;
  since?: string;
  until?: string;
}

export interface ApplicationActionRow {
  at: string;
  change_id: string;
  cluster: string;
  action: ApplicationActionName;
  namespace: string;
  name: string;
  username: string;
  initiator: string | null;
  initiator_evidence: string | null;
  detail: ApplicationAction;
}

/** One change may ask for several things: a row's place is its change and what it asks for, in the letters of cursors. */
const PLACE = sql`(a.change_id || '-' || replace(a.action, '_', '-')) collate "C"`;

/** What people asked Argo CD for, newest first. */
export async function findApplicationActions(
  db: Kysely<Database>,
  filter: ActionFilter,
  after: Keyset | undefined,
  limit: number,
): Promise<Page<ApplicationActionRow>> {
  const rows: ApplicationActionRow[] = [];
  for (const { id } of await findClusters(db, filter.clusters)) {
    const conditions = [sql`a.cluster_id = ${id}`, ...timeConditions(filter, sql.ref('a.at'))];
    if (filter.actions?.length) conditions.push(sql`a.action = any(${filter.actions}::text[])`);
    if (filter.namespaces?.length) conditions.push(sql`a.namespace = any(${filter.namespaces}::text[])`);
    if (filter.names?.length) conditions.push(sql`a.name = any(${filter.names}::text[])`);
    if (filter.actors?.length)
      conditions.push(
        sql`(a.initiator = any(${filter.actors}::text[]) or a.username = any(${filter.actors}::text[]))`,
      );
    if (after) conditions.push(sql`(a.at, ${PLACE}) < (${after.at}::timestamptz, ${after.id})`);
    const found = await sql<ApplicationActionRow>`
      select a.at, a.change_id, k.name as cluster, a.action, a.namespace, a.name, a.username, a.initiator, a.initiator_evidence, a.detail
        from application_actions a join clusters k on k.id = a.cluster_id
       where ${sql.join(conditions, sql` and `)}
       order by a.at desc, ${PLACE} desc limit ${limit + 1}`.execute(db);
    rows.push(...found.rows);
  }
  const idOf = (row: ApplicationActionRow) => `${row.change_id}-${row.action.replaceAll('_', '-')}`;
  rows.sort((a, b) => (a.at === b.at ? (idOf(a) < idOf(b) ? 1 : -1) : a.at < b.at ? 1 : -1));
  return pageOf(rows, limit, (row) => ({ at: row.at, id: idOf(row) }));
}
