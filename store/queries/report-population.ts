import type { Kysely } from 'kysely';
import type { Pool } from 'pg';
import type { Population } from '../../core/report/controls.js';
import type { RowOrigin } from '../../core/report/ocsf.js';
import type { ReportRow } from '../../core/report/report.js';
import { FAILING, VERDICTS, type VerdictName, verdictText } from '../../core/verdict/verdict.js';
import type { ChangeKind } from '../../core/vocabulary.js';
import type { Database } from '../schema.js';
import type { ChangeRow } from './change-rows.js';
import { statementsOf } from './changes.js';
import { streamRows } from './stream.js';
import { type ListedVerdictRow, type OriginVerdictRow, verdictStatements } from './verdicts.js';

/** What nobody is asked to approve: it changed nothing, or the cluster keeps it by itself. */
const NOT_JUDGED: readonly VerdictName[] = ['excluded', 'system'];

/** Interactive access, and what gives rights away. */
const ACCESS_KINDS: ChangeKind[] = [
  'exec',
  'attach',
  'port_forward',
  'proxy',
  'debug',
  'rbac_grant',
  'rbac_revoke',
  'token_request',
  'csr_approval',
];
/** Looked at first, whatever was said of them otherwise. */
const RISKY: readonly string[] = ['exec', 'attach', 'debug', 'rbac_grant'];

export interface PopulationScope {
  /** None: all. */
  clusters: string[];
  environments: string[];
  since: string;
  until: string;
}

export interface PopulationMember {
  row: ReportRow;
  /** What it is counted as. */
  what: string;
  policy?: string;
  /** Where `origins` are asked for. */
  origin?: RowOrigin;
}

/** The members of a report's population, cluster by cluster, newest first, and the API's question that gives them. */
export function populationOf(
  population: Population,
  scope: PopulationScope,
  { origins = false }: { origins?: boolean } = {},
): {
  query: string;
  rows(pool: Pick<Pool, 'connect'>, db: Kysely<Database>): AsyncGenerator<PopulationMember>;
} {
  const { clusters, environments, since, until } = scope;
  const shared: Array<[string, string]> = [
    ...clusters.map((name): [string, string] => ['cluster', name]),
    ...environments.map((name): [string, string] => ['environment', name]),
    ['since', since],
    ['until', until],
  ];
  const question = (path: string, own: Array<[string, string]>) =>
    `GET ${path}?${new URLSearchParams([...shared, ...own])}`;
  const wanted = clusters.length > 0 ? { clusters } : {};
  switch (population) {
    case 'changes': {
      const verdicts = VERDICTS.filter((verdict) => !NOT_JUDGED.includes(verdict));
      const filter = { ...wanted, environments, verdicts, since, until };
      return {
        query: question(
          '/v1/verdicts.ndjson',
          verdicts.map((verdict) => ['verdict', verdict]),
        ),
        async *rows(pool, db) {
          const statements = await verdictStatements(db, filter, undefined, undefined, { origin: origins });
          for await (const row of streamRows(pool, db, statements))
            yield { ...judged(row), ...(origins && { origin: originOf(row as OriginVerdictRow) }) };
        },
      };
    }
    case 'access':
    case 'secret_reads': {
      const reads = population === 'secret_reads';
      const filter = reads
        ? { ...wanted, classes: ['secret_read' as const], withoutControllers: true, since, until }
        : { ...wanted, kinds: ACCESS_KINDS, since, until };
      const own = reads ? [] : ACCESS_KINDS.map((kind): [string, string] => ['kind', kind]);
      return {
        query: question(reads ? '/v1/secret-reads' : '/v1/changes.ndjson', own),
        async *rows(pool, db) {
          const page = { filter, all: false, ascending: false, after: undefined, limit: 0 };
          const statements = await statementsOf(db, page);
          for await (const row of streamRows(pool, db, statements))
            yield { ...recorded(row, reads), ...(origins && { origin: originOf(row) }) };
        },
      };
    }
  }
}

function judged(row: ListedVerdictRow): PopulationMember {
  const { commits } = row.document;
  const verdict = verdictText(row);
  return {
    what: verdict,
    policy: row.policy,
    row: {
      id: row.change_id,
      at: row.at,
      cluster: row.cluster,
      namespace: row.namespace,
      object: objectText(row),
      actor: row.impersonated_username ?? row.username,
      summary: row.summary,
      verdict,
      detail: row.detail,
      commits: commits.map(({ sha }) => sha),
      approvers: [...new Set(commits.flatMap(({ approvers }) => approvers))].sort(),
      exception:
        FAILING.includes(row.verdict) || (row.verdict === 'break-glass' && row.reason !== 'reviewed'),
    },
  };
}

function recorded(row: ChangeRow, reads: boolean): PopulationMember {
  const actor = row.impersonated_username ?? row.username;
  const verdict =
    row.verdict === null ? undefined : verdictText({ verdict: row.verdict, reason: row.verdict_reason });
  return {
    what: row.kind ?? row.verb,
    row: {
      id: row.change_id,
      at: row.at,
      cluster: row.cluster,
      namespace: row.namespace,
      object: objectText(row),
      actor,
      summary: row.summary,
      ...(verdict !== undefined && { verdict }),
      // People who read Secrets; programs have service accounts for it.
      exception: reads ? !actor.startsWith('system:') : RISKY.includes(row.kind ?? ''),
    },
  };
}

function originOf(row: ChangeRow | OriginVerdictRow): RowOrigin {
  return {
    verb: row.verb,
    code: row.code,
    apiGroup: row.api_group,
    apiVersion: row.api_version,
    resource: row.resource,
    subresource: row.subresource,
    name: row.name,
    username: row.username,
    impersonatedUsername: row.impersonated_username,
    sourceIPs: row.source_ips,
    userAgent: row.user_agent,
    auditID: row.audit_id,
    requestURI: row.request_uri,
  };
}

function objectText(row: { resource: string; name: string }): string {
  return [row.resource, row.name].filter((part) => part !== '').join('/');
}
