import type { Kysely } from 'kysely';
import type { Pool } from 'pg';
import type { ChangePopulation, Population } from '../../core/report/controls.js';
import type { RowOrigin } from '../../core/report/ocsf.js';
import type { ReportRow } from '../../core/report/report.js';
import { FAILING, VERDICTS, type VerdictName, verdictText } from '../../core/verdict/verdict.js';
import type { ChangeKind, EventClass } from '../../core/vocabulary.js';
import type { Database } from '../schema.js';
import type { ChangeFilter } from './change-filter.js';
import type { ChangeRow } from './change-rows.js';
import { statementsOf } from './changes.js';
import { findInterruptions, findLedgerAccess } from './report-records.js';
import { findProtection, findRetention } from './report-retention.js';
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
/** They make somebody somebody else, or more than before. */
const GRANTING: readonly string[] = ['rbac_grant', 'csr_approval', 'token_request'];
const REFUSED_CLASSES: EventClass[] = ['rejected', 'failed_auth'];
/** Who somebody is, and what they may do; `users` to `oauthclients` are OpenShift's. */
const IDENTITY_RESOURCES = [
  'serviceaccounts',
  'roles',
  'rolebindings',
  'clusterroles',
  'clusterrolebindings',
  'certificatesigningrequests',
  'users',
  'groups',
  'identities',
  'oauthclients',
];
/** What a cluster as a whole runs by. */
const SYSTEM_RESOURCES = [
  'nodes',
  'namespaces',
  'customresourcedefinitions',
  'apiservices',
  'mutatingwebhookconfigurations',
  'validatingwebhookconfigurations',
  'mutatingadmissionpolicies',
  'mutatingadmissionpolicybindings',
  'validatingadmissionpolicies',
  'validatingadmissionpolicybindings',
  'clusterroles',
  'clusterrolebindings',
  'priorityclasses',
  'runtimeclasses',
  'storageclasses',
  'ingressclasses',
  'persistentvolumes',
  'flowschemas',
  'prioritylevelconfigurations',
  'daemonsets',
];
const MADE_OR_GONE: ChangeKind[] = ['create', 'delete', 'delete_collection'];

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
    case 'ledger_access':
      return {
        query: question('/v1/access-events', []),
        rows: (pool, db) => findLedgerAccess(pool, db, { since, until }),
      };
    case 'interruptions':
      return {
        query: `${question('/v1/gaps', [])}, and GET /v1/sources`,
        rows: (pool, db) => findInterruptions(pool, db, scope),
      };
    case 'retention':
      return {
        query: `GET /v1/retention, GET /v1/holds?released=true, and GET /v1/erasures?${new URLSearchParams({ since, until })}`,
        rows: (pool, db) => findRetention(pool, db, scope),
      };
    case 'protection':
      return {
        query: `GET /v1/log/checkpoints, and GET /v1/erasures?${new URLSearchParams({ since, until })}`,
        rows: (pool, db) => findProtection(pool, db, { since, until }),
      };
    default: {
      const { path, own, filter, exception } = RECORDED[population];
      return {
        query: question(path, own),
        async *rows(pool, db) {
          const page = {
            filter: { ...wanted, ...filter, since, until },
            all: false,
            ascending: false,
            after: undefined,
            limit: 0,
          };
          const statements = await statementsOf(db, page);
          for await (const row of streamRows(pool, db, statements))
            yield { ...recorded(row, exception), ...(origins && { origin: originOf(row) }) };
        },
      };
    }
  }
}

/** A population of what was recorded, as a question to the API and as the same question to the database. */
interface Recorded {
  path: string;
  own: Array<[string, string]>;
  filter: ChangeFilter;
  exception(row: ChangeRow, actor: string): boolean;
}

const named = (name: string, values: readonly string[]) =>
  values.map((value): [string, string] => [name, value]);
const resources = (names: readonly string[]) => names.map((resource) => ({ resource }));
const fails = (row: ChangeRow) => row.verdict !== null && FAILING.includes(row.verdict);

const RECORDED: Record<Exclude<ChangePopulation, 'changes'>, Recorded> = {
  access: {
    path: '/v1/changes.ndjson',
    own: named('kind', ACCESS_KINDS),
    filter: { kinds: ACCESS_KINDS },
    exception: ({ kind }) => RISKY.includes(kind ?? ''),
  },
  secret_reads: {
    path: '/v1/secret-reads',
    own: [],
    filter: { classes: ['secret_read'], withoutControllers: true },
    // People who read Secrets; programs have service accounts for it.
    exception: (_row, actor) => !actor.startsWith('system:'),
  },
  administration: {
    path: '/v1/changes.ndjson',
    own: [],
    filter: {},
    exception: (row) => RISKY.includes(row.kind ?? '') || fails(row),
  },
  refused: {
    path: '/v1/changes.ndjson',
    own: named('class', REFUSED_CLASSES),
    filter: { classes: REFUSED_CLASSES },
    exception: (row) => row.class === 'failed_auth' || row.code === 403,
  },
  identities: {
    path: '/v1/changes.ndjson',
    own: named('resource', IDENTITY_RESOURCES),
    filter: { resources: resources(IDENTITY_RESOURCES) },
    exception: (row) => GRANTING.includes(row.kind ?? '') || fails(row),
  },
  system_objects: {
    path: '/v1/changes.ndjson',
    own: [...named('kind', MADE_OR_GONE), ...named('resource', SYSTEM_RESOURCES)],
    filter: { kinds: MADE_OR_GONE, resources: resources(SYSTEM_RESOURCES) },
    exception: (row) => row.kind !== 'create' || fails(row),
  },
};

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

function recorded(row: ChangeRow, exception: Recorded['exception']): PopulationMember {
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
      exception: exception(row, actor),
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
