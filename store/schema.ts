import type { Generated } from 'kysely';
import type { CallerKind, Grant } from '../core/access/grants.js';
import type { Level, Stage } from '../core/audit-event.js';
import type { Flag } from '../core/change.js';
import type { FieldChange } from '../core/diff/diff.js';
import type { Inferred } from '../core/state.js';
import type {
  Certainty,
  ChangeClass,
  ChangeKind,
  EventClass,
  Outcome,
  PatchType,
  Role,
} from '../core/vocabulary.js';
import type {
  CommitPathTable,
  CommitTable,
  RefTable,
  RefUpdateTable,
  RenderingTable,
  RepoFindingTable,
  RepoTable,
} from './git-schema.js';

/**
 * The tables of migrations/, as store/database.ts reads them: bigint and uuid are text, timestamptz is RFC 3339 text in
 * UTC with microseconds, bytea is a Buffer.
 */
export interface Database {
  clusters: ClusterTable;
  sources: SourceTable;
  source_credentials: SourceCredentialTable;
  source_health: SourceHealthTable;
  api_tokens: ApiTokenTable;
  access_events: AccessEventTable;
  users: UserTable;
  user_agents: UserAgentTable;
  objects: ObjectTable;
  authorizations: AuthorizationTable;
  bodies: BodyTable;
  events: EventTable;
  changes: ChangeTable;
  attributions: AttributionTable;
  quarantine: QuarantineTable;
  findings: FindingTable;
  job_runs: JobRunTable;
  repos: RepoTable;
  refs: RefTable;
  ref_updates: RefUpdateTable;
  commits: CommitTable;
  commit_paths: CommitPathTable;
  renderings: RenderingTable;
  repo_findings: RepoFindingTable;
}

interface ClusterTable {
  id: Generated<number>;
  name: string;
  created_at: Generated<string>;
}

interface SourceTable {
  id: Generated<number>;
  cluster_id: number;
  name: string;
  kind: Generated<'webhook' | 's3' | 'import'>;
  created_at: Generated<string>;
  disabled_at: string | null;
}

interface SourceCredentialTable {
  id: Generated<number>;
  source_id: number;
  kind: 'token' | 'client_cert';
  secret_sha256: Buffer;
  created_at: Generated<string>;
  expires_at: string | null;
  revoked_at: string | null;
}

interface SourceHealthTable {
  source_id: number;
  last_received_at: string | null;
  last_event_at: string | null;
  events: string;
  duplicates: string;
  quarantined: string;
  batches: string;
}

interface ApiTokenTable {
  id: Generated<number>;
  name: string;
  role: Role;
  secret_sha256: Buffer;
  created_at: Generated<string>;
  expires_at: string | null;
  revoked_at: string | null;
  last_used_at: string | null;
  clusters: string[] | null;
  namespaces: string[] | null;
}

export interface AccessEventTable {
  seq: string;
  at: string;
  caller: string;
  caller_kind: CallerKind;
  role: string | null;
  clusters: string[] | null;
  namespaces: string[] | null;
  grants: Grant[] | null;
  method: string;
  route: string;
  target: string;
  asked: Record<string, unknown> | null;
  status: number;
  source_ip: string;
  request_id: string;
  digest: Buffer;
}

interface UserTable {
  cluster_id: number;
  id: string;
  username: string;
  uid: string | null;
  groups: string[] | null;
  extra: Record<string, string[]> | null;
}

interface UserAgentTable {
  cluster_id: number;
  id: string;
  user_agent: string;
  tool: string;
  tool_version: string | null;
}

interface ObjectTable {
  cluster_id: number;
  id: string;
  api_group: string;
  resource: string;
  namespace: string;
  name: string;
}

interface AuthorizationTable {
  cluster_id: number;
  id: string;
  decision: string | null;
  reason: string | null;
}

interface BodyTable {
  cluster_id: number;
  digest: Buffer;
  size: number;
  encoding: number;
  content: Buffer | null;
  pack_id: string | null;
  pack_offset: number | null;
}

/** A view: what repeats stands in `event_contexts`, the rest in `event_rows` (migrations/047-event-contexts.sql). */
export interface EventTable {
  cluster_id: number;
  at: string;
  digest: Buffer;
  source_id: number;
  seq: string;
  request_id: string;
  audit_id: string;
  api_version: string;
  stage: Stage;
  level: Level;
  class: EventClass;
  stage_at: string;
  verb: string;
  request_uri: string;
  object_id: string | null;
  object_ref: Record<string, string> | null;
  user_id: string;
  impersonated_user_id: string | null;
  user_agent_id: string | null;
  source_ips: string[] | null;
  code: number | null;
  status: Record<string, unknown> | null;
  authorization_id: string | null;
  annotations: Record<string, string> | null;
  authentication_metadata: Record<string, string> | null;
  request_digest: Buffer | null;
  response_digest: Buffer | null;
}

export interface ChangeTable {
  cluster_id: number;
  at: string;
  change_id: string;
  seq: string;
  completed_at: string | null;
  source_id: number;
  event_digest: Buffer;
  audit_id: string;
  class: ChangeClass;
  kind: ChangeKind;
  outcome: Outcome;
  verb: string;
  patch_type: PatchType | null;
  object_id: string;
  api_group: string;
  api_version: string | null;
  resource: string;
  subresource: string | null;
  namespace: string;
  name: string;
  uid: string | null;
  user_id: string;
  impersonated_user_id: string | null;
  user_agent_id: string | null;
  /** Null: its event is to be asked (migrations/050-change-contexts.sql). */
  context_id: string | null;
  tool: string;
  request_uri: string;
  code: number | null;
  level: Level;
  resource_version: string | null;
  generation: string | null;
  order_rv: string;
  deleted: boolean;
  request_digest: Buffer | null;
  response_digest: Buffer | null;
  before_digest: Buffer | null;
  before_certainty: Certainty | null;
  after_digest: Buffer | null;
  after_certainty: Certainty | null;
  inferred: Inferred | null;
  diff: FieldChange[] | null;
  field_terms: string[] | null;
  labels: string[] | null;
  summary: string;
  flags: Flag[] | null;
}

interface AttributionTable {
  cluster_id: number;
  change_id: string;
  at: string;
  state: 'resolved' | 'unresolved';
  rule: string;
  reason: string | null;
  root_object_id: string | null;
  root_uid: string | null;
  trigger_change_id: string | null;
  trigger_at: string | null;
  content_change_id: string | null;
  content_at: string | null;
  evidence: unknown;
  evaluated_at: Generated<string>;
  retry_until: string | null;
}

interface QuarantineTable {
  id: Generated<string>;
  source_id: number;
  received_at: Generated<string>;
  reason: string;
  detail: string;
  digest: Buffer;
  sample: string;
  replayable: boolean;
  state: Generated<'open' | 'replayed' | 'dismissed'>;
  state_at: string | null;
  seen: Generated<number>;
}

interface FindingTable {
  id: Generated<string>;
  cluster_id: number;
  kind: string;
  found_at: Generated<string>;
  at: string;
  subject: string;
  detail: unknown;
}

interface JobRunTable {
  id: Generated<string>;
  job: string;
  started_at: string;
  finished_at: string;
  rows: string;
  error: string | null;
}
