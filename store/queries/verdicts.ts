import { type Kysely, type RawBuilder, sql } from 'kysely';
import type { Pool } from 'pg';
import type { CommitApproval, Evidence } from '../../core/approval/approval.js';
import type { ContentComparison } from '../../core/links/compare-content.js';
import type { Link } from '../../core/links/link.js';
import { parseMicros } from '../../core/timestamp.js';
import type { VerdictName } from '../../core/verdict/verdict.js';
import { prepared } from '../prepared.js';
import type { Database } from '../schema.js';
import { findLinkRows } from '../verdicts/links.js';
import { findClusters, timeConditions } from './change-filter.js';
import { SOURCE_IPS, sourceIPJoins } from './change-rows.js';
import { type Keyset, type Page, pageOf } from './cursor.js';

/** What a question about verdicts may ask for. Times are RFC 3339, of the changes. */
export interface VerdictFilter {
  clusters?: string[] | undefined;
  namespaces?: string[] | undefined;
  environments?: string[] | undefined;
  verdicts?: VerdictName[] | undefined;
  reasons?: string[] | undefined;
  since?: string;
  until?: string;
}

/** A verdict as it was given, and what columns don't hold of it. */
export interface VerdictRow {
  id: string;
  evaluated_at: string;
  verdict: VerdictName;
  reason: string | null;
  detail: string;
  environment: string;
  policy: string;
  final: boolean;
  root_change_id: string | null;
  root_verdict: VerdictName | null;
  root_reason: string | null;
  document: {
    commits: CommitApproval[];
    evidence: Evidence[];
    hazards: string[];
    content?: ContentComparison;
    initiator?: { username?: string; automated: boolean };
    triggerChangeID?: string;
  };
  digest: Buffer;
}

/** The newest verdict of a change, with the change in short. */
export interface ListedVerdictRow extends VerdictRow {
  at: string;
  change_id: string;
  cluster: string;
  api_group: string;
  resource: string;
  namespace: string;
  name: string;
  username: string;
  impersonated_username: string | null;
  summary: string;
  sources: Link['sources'] | null;
}

/** The same with what the event said of where the change came from; asked for where it is told, since it takes a join. */
export interface OriginVerdictRow extends ListedVerdictRow {
  verb: string;
  code: number | null;
  api_version: string | null;
  subresource: string | null;
  source_ips: string[] | null;
  user_agent: string | null;
  audit_id: string;
  request_uri: string;
}

const ORIGIN = sql`, c.verb, c.code, c.api_version, c.subresource, ${SOURCE_IPS}, a.user_agent, c.audit_id, c.request_uri`;
const ORIGIN_JOINS = sql`
        left join user_agents a on a.cluster_id = c.cluster_id and a.id = c.user_agent_id${sourceIPJoins()}`;

const VERDICT = sql`w.id, w.evaluated_at, w.verdict, w.reason, w.detail, w.environment, p.version as policy, w.final,
  w.root_change_id, w.root_verdict, w.root_reason, w.document, w.digest`;

/** One page of the changes' newest verdicts, newest change first. */
export async function findVerdicts(
  db: Kysely<Database>,
  filter: VerdictFilter,
  after: Keyset | undefined,
  limit: number,
): Promise<Page<ListedVerdictRow>> {
  const rows: ListedVerdictRow[] = [];
  for (const statement of await verdictStatements(db, filter, after, limit + 1))
    rows.push(...(await statement.execute(db)).rows);
  rows.sort((a, b) => (a.at === b.at ? (a.change_id < b.change_id ? 1 : -1) : a.at < b.at ? 1 : -1));
  return pageOf(rows, limit, (row) => ({ at: row.at, id: row.change_id }));
}

/** The statements that together answer, one for each cluster; a page is their merge. */
export async function verdictStatements(
  db: Kysely<Database>,
  filter: VerdictFilter,
  after: Keyset | undefined,
  limit: number | undefined,
  { origin = false }: { origin?: boolean } = {},
): Promise<RawBuilder<ListedVerdictRow>[]> {
  const clusters = await findClusters(db, filter.clusters);
  return clusters.map(({ id }) => {
    const conditions = [sql`v.cluster_id = ${id}`, ...timeConditions(filter, sql.ref('v.at'))];
    // Equality keeps an index's order where `any` would not.
    conditions.push(oneOf('v.verdict', filter.verdicts, 'verdict_name') ?? sql`v.verdict is not null`);
    for (const condition of [
      oneOf('v.environment', filter.environments, 'text'),
      oneOf('v.reason', filter.reasons, 'text'),
      oneOf('v.namespace', filter.namespaces, 'text'),
    ])
      if (condition) conditions.push(condition);
    if (after) conditions.push(sql`(v.at, v.change_id) < (${after.at}::timestamptz, ${after.id}::uuid)`);
    const page = sql`select v.cluster_id, v.at, v.change_id from current_verdicts v where ${sql.join(conditions, sql` and `)}
                      order by v.at desc, v.change_id desc ${limit === undefined ? sql`` : sql`limit ${limit}`}`;
    return sql<ListedVerdictRow>`
      select v.at, v.change_id, k.name as cluster, ${VERDICT}, c.api_group, c.resource, c.namespace, c.name, u.username,
             i.username as impersonated_username, c.summary, l.sources${origin ? ORIGIN : sql``}
        from (${page}) v
        join clusters k on k.id = v.cluster_id
        join changes c on c.cluster_id = v.cluster_id and c.at = v.at and c.change_id = v.change_id
        join users u on u.cluster_id = c.cluster_id and u.id = c.user_id
        left join users i on i.cluster_id = c.cluster_id and i.id = c.impersonated_user_id${origin ? ORIGIN_JOINS : sql``}
       cross join lateral (select * from verdicts w where w.cluster_id = v.cluster_id and w.at = v.at
                              and w.change_id = v.change_id order by w.id desc limit 1) w
        join policies p on p.digest = w.policy_digest
        left join lateral (select sources from links l where l.cluster_id = v.cluster_id and l.at = v.at
                              and l.change_id = v.change_id and l.selected limit 1) l on true
       order by v.at desc, v.change_id desc`;
  });
}

function oneOf(
  column: string,
  values: readonly string[] | undefined,
  type: 'text' | 'verdict_name',
): RawBuilder<unknown> | undefined {
  if (!values?.length) return undefined;
  return values.length === 1
    ? sql`${sql.ref(column)} = ${values[0]}::${sql.raw(type)}`
    : sql`${sql.ref(column)} = any(${values}::${sql.raw(type)}[])`;
}

/** Every verdict that was given of a change, the newest first, and every link that was found. */
export async function findVerdictsOf(
  { db, pool }: { db: Kysely<Database>; pool: Pick<Pool, 'query'> },
  change: { cluster: string; at: string; change_id: string },
): Promise<{ verdicts: VerdictRow[]; links: Array<Link & { selected: boolean }> }> {
  const [cluster] = await findClusters(db, [change.cluster]);
  if (!cluster) return { verdicts: [], links: [] };
  const { rows } = await prepared(sql<VerdictRow>`
    select ${VERDICT} from verdicts w join policies p on p.digest = w.policy_digest
     where w.cluster_id = ${cluster.id} and w.at = ${change.at}::timestamptz and w.change_id = ${change.change_id}::uuid
     order by w.id desc`).execute(db);
  const key = { changeID: change.change_id, at: parseMicros(change.at)! };
  const links = await findLinkRows(pool, cluster.id, [key]);
  return { verdicts: rows, links: links.get(change.change_id) ?? [] };
}
