import { type Kysely, sql } from 'kysely';
import { prepared } from '../prepared.js';
import type { Database } from '../schema.js';
import { type Keyset, type Page, pageOf } from './cursor.js';

export interface GateDecisionRow {
  id: string;
  cluster: string;
  at: string;
  mode: string;
  fail: string;
  deny_unknown: boolean;
  outcome: string;
  operation: string;
  api_group: string;
  resource: string;
  subresource: string | null;
  namespace: string;
  name: string;
  username: string;
  verdict: string | null;
  reason: string | null;
  detail: string;
  environment: string | null;
  policy_version: string | null;
  document: { commits?: unknown[]; evidence?: unknown[]; hazards?: string[] } | null;
  latency_ms: number;
  request_id: string | null;
  audit_id: string | null;
  code: number | null;
  agrees: boolean | null;
}

const COLUMNS = sql`d.id, k.name as cluster, d.at, d.mode, d.fail, d.deny_unknown, d.outcome, d.operation, d.api_group,
  d.resource, d.subresource, d.namespace, d.name, d.username, d.verdict, d.reason, d.detail, d.environment,
  d.policy_version, d.document, d.latency_ms, d.request_id, d.audit_id, d.code, d.agrees`;

export interface GateDecisionFilter {
  cluster?: string | undefined;
  namespace?: string | undefined;
  outcome?: string | undefined;
  /** Only those whose audit event hasn't come. */
  unlinked?: boolean | undefined;
}

/** Decisions of the gate, newest first. */
export async function findGateDecisions(
  db: Kysely<Database>,
  filter: GateDecisionFilter,
  after: Keyset | undefined,
  limit: number,
): Promise<Page<GateDecisionRow>> {
  const { rows } = await sql<GateDecisionRow>`
    select ${COLUMNS} from gate_decisions d join clusters k on k.id = d.cluster_id
     where ${filter.cluster === undefined ? sql`true` : sql`k.name = ${filter.cluster}`}
       and ${filter.namespace === undefined ? sql`true` : sql`d.namespace = ${filter.namespace}`}
       and ${filter.outcome === undefined ? sql`true` : sql`d.outcome = ${filter.outcome}`}
       and ${filter.unlinked ? sql`d.request_id is null` : sql`true`}
       and ${after ? sql`(d.at, d.id) < (${after.at}::timestamptz, ${after.id}::uuid)` : sql`true`}
     order by d.at desc, d.id desc limit ${limit + 1}`.execute(db);
  return pageOf(rows, limit, (row) => ({ at: row.at, id: row.id }));
}

export async function findGateDecision(
  db: Kysely<Database>,
  id: string,
): Promise<GateDecisionRow | undefined> {
  const { rows } = await sql<GateDecisionRow>`
    select ${COLUMNS} from clusters k join gate_decisions d on d.cluster_id = k.id and d.id = ${id}::uuid`.execute(
    db,
  );
  return rows[0];
}

/** What the gate said of the request that made a change; several for one that deleted several objects. */
export async function findGateDecisionsOf(
  db: Kysely<Database>,
  cluster: string,
  requestID: string,
): Promise<GateDecisionRow[]> {
  const { rows } = await prepared(sql<GateDecisionRow>`
    select ${COLUMNS} from gate_decisions d join clusters k on k.id = d.cluster_id
     where k.name = ${cluster} and d.request_id = ${requestID}::uuid order by d.at, d.id limit 20`).execute(
    db,
  );
  return rows;
}
