import { type Kysely, type RawBuilder, sql } from 'kysely';
import type { Flag } from '../../core/change.js';
import type { FieldChange } from '../../core/diff/diff.js';
import type { LinkedSource, LinkRule, Strength } from '../../core/links/link.js';
import type { Inferred } from '../../core/state.js';
import type { VerdictName } from '../../core/verdict/verdict.js';
import type { Certainty, ChangeKind, EventClass, Outcome, PatchType } from '../../core/vocabulary.js';
import { prepared } from '../prepared.js';
import type { Database } from '../schema.js';
import { eventIDSql } from './events.js';
import { type Span, spanOf, within } from './time-steps.js';

/** A change with everything that a list shows of it; one query, no look-ups after it. */
export interface ChangeRow {
  at: string;
  change_id: string;
  seq: string;
  completed_at: string | null;
  cluster: string;
  source: string;
  class: EventClass;
  kind: ChangeKind | null;
  outcome: Outcome | null;
  verb: string;
  patch_type: PatchType | null;
  code: number | null;
  api_group: string;
  api_version: string | null;
  resource: string;
  subresource: string | null;
  namespace: string;
  name: string;
  uid: string | null;
  username: string;
  user_uid: string | null;
  groups: string[] | null;
  extra: Record<string, string[]> | null;
  impersonated_username: string | null;
  impersonated_groups: string[] | null;
  tool: string;
  tool_version: string | null;
  user_agent: string | null;
  source_ips: string[] | null;
  summary: string;
  flags: Flag[] | null;
  diff: FieldChange[] | null;
  before_certainty: Certainty | null;
  after_certainty: Certainty | null;
  /** Which fields of the state after it are not exact. */
  inferred: Inferred | null;
  resource_version: string | null;
  generation: string | null;
  audit_id: string;
  request_uri: string;
  event_id: string | null;
  attribution_state: 'resolved' | 'unresolved' | null;
  attribution_rule: string | null;
  attribution_reason: string | null;
  root_api_group: string | null;
  root_resource: string | null;
  root_namespace: string | null;
  root_name: string | null;
  trigger_change_id: string | null;
  trigger_at: string | null;
  trigger_username: string | null;
  trigger_summary: string | null;
  trigger_api_group: string | null;
  trigger_resource: string | null;
  trigger_namespace: string | null;
  trigger_name: string | null;
  content_change_id: string | null;
  content_at: string | null;
  /** The newest verdict, and the link that counts. */
  verdict: VerdictName | null;
  verdict_reason: string | null;
  verdict_environment: string | null;
  verdict_final: boolean | null;
  verdict_root_change_id: string | null;
  verdict_root: VerdictName | null;
  verdict_root_reason: string | null;
  approvers: string[] | null;
  pull_requests: Array<{ number: number; url: string; title: string }> | null;
  link_rule: LinkRule | null;
  link_strength: Strength | null;
  link_sources: LinkedSource[] | null;
}

/** What changes `c` are told with: the newest verdict `v`, and the selected link `l`. One index probe each. */
export const VERDICT_COLUMNS = sql`v.verdict, v.reason as verdict_reason, v.environment as verdict_environment, v.final as verdict_final,
           v.root_change_id as verdict_root_change_id, v.root_verdict as verdict_root, v.root_reason as verdict_root_reason,
           jsonb_path_query_array(v.document, '$.commits[*].approvers[*]') as approvers,
           jsonb_path_query_array(v.document, '$.commits[*].pullRequest') as pull_requests,
           l.rule as link_rule, l.strength as link_strength, l.sources as link_sources`;
export const VERDICT_JOINS = sql`
      left join lateral (select * from verdicts w where w.cluster_id = c.cluster_id and w.at = c.at and w.change_id = c.change_id
                          order by w.id desc limit 1) v on true
      left join lateral (select * from links w where w.cluster_id = c.cluster_id and w.at = c.at and w.change_id = c.change_id
                            and w.selected limit 1) l on true`;

/** Where changes `c` came from: what their context says, and of those that have none, what their event does. */
export const SOURCE_IPS = sql`coalesce(x.source_ips, e.source_ips) as source_ips`;
/** @param span where these changes lie, if that is known */
export function sourceIPJoins(span: Span = {}): RawBuilder<unknown> {
  return sql`
      left join event_contexts x on x.cluster_id = c.cluster_id and x.id = c.context_id
      left join lateral (select source_ips from events
                          where c.context_id is null and cluster_id = c.cluster_id and at = c.at and digest = c.event_digest
                            and source_id = c.source_id and ${within(span)} limit 1) e on true`;
}

/**
 * Rows of `changes c`, each told with its dictionary entries, attribution, verdict and link. The `limit 1` of what is looked
 * up by key keeps Postgres from expecting a row in each partition, and from reading whole dictionaries for so many.
 * @param spans where these changes and their triggers lie, if that is known: Postgres opens no other partition
 */
export function tellChanges(
  changes: RawBuilder<unknown>,
  spans: { at: Span; triggerAt: Span } = { at: {}, triggerAt: {} },
): RawBuilder<ChangeRow> {
  return sql<ChangeRow>`
    select c.at, c.change_id, c.seq, c.completed_at, k.name as cluster, s.name as source, c.class, c.kind, c.outcome, c.verb,
           c.patch_type, c.code, c.api_group, c.api_version, c.resource, c.subresource, c.namespace, c.name, c.uid,
           u.username, u.uid as user_uid, u.groups, u.extra, i.username as impersonated_username, i.groups as impersonated_groups,
           c.tool, a.tool_version, a.user_agent, ${SOURCE_IPS}, c.summary, c.flags, c.diff, c.before_certainty, c.after_certainty, c.inferred,
           c.resource_version, c.generation, c.audit_id, c.request_uri, null as event_id,
           t.state as attribution_state, t.rule as attribution_rule, t.reason as attribution_reason,
           o.api_group as root_api_group, o.resource as root_resource, o.namespace as root_namespace, o.name as root_name,
           t.trigger_change_id, t.trigger_at, tu.username as trigger_username, tc.summary as trigger_summary,
           tc.api_group as trigger_api_group, tc.resource as trigger_resource, tc.namespace as trigger_namespace, tc.name as trigger_name,
           t.content_change_id, t.content_at, ${VERDICT_COLUMNS}
      from (${changes}) c
      join clusters k on k.id = c.cluster_id
      join sources s on s.id = c.source_id
      join users u on u.cluster_id = c.cluster_id and u.id = c.user_id
      left join users i on i.cluster_id = c.cluster_id and i.id = c.impersonated_user_id
      left join user_agents a on a.cluster_id = c.cluster_id and a.id = c.user_agent_id${sourceIPJoins(spans.at)}
      left join attributions t on t.cluster_id = c.cluster_id and t.change_id = c.change_id
      left join objects o on o.cluster_id = c.cluster_id and o.id = t.root_object_id
      left join lateral (select * from changes
                          where cluster_id = c.cluster_id and at = t.trigger_at and change_id = t.trigger_change_id
                            and ${within(spans.triggerAt)} limit 1) tc on true
      left join users tu on tu.cluster_id = tc.cluster_id and tu.id = tc.user_id${VERDICT_JOINS}`;
}

/** What came of a request that changed nothing: the apiserver's words, else its code and reason, else what it is. */
const ATTEMPT_SUMMARY = sql`coalesce(c.status->>'message', case when c.code >= 400 then concat_ws(' ', c.code, c.status->>'reason') end,
                                     replace(c.class::text, '_', ' '))`;

/**
 * Requests that changed nothing (refused, dry runs, no-ops, ...) in the shape of changes, from rows of `events c`; each
 * told with its dictionary entries.
 */
export function tellAttempts(events: RawBuilder<unknown>): RawBuilder<ChangeRow> {
  return sql<ChangeRow>`
    select c.at, c.request_id as change_id, c.seq, c.stage_at as completed_at, k.name as cluster, s.name as source, c.class, null as kind,
           null as outcome, c.verb, null as patch_type, c.code, coalesce(o.api_group, '') as api_group, c.object_ref->>'apiVersion' as api_version,
           coalesce(o.resource, '') as resource, c.subresource, coalesce(o.namespace, '') as namespace,
           coalesce(o.name, '') as name, c.object_ref->>'uid' as uid, u.username, u.uid as user_uid, u.groups, u.extra,
           i.username as impersonated_username, i.groups as impersonated_groups, coalesce(a.tool, 'unknown') as tool, a.tool_version, a.user_agent,
           c.source_ips, ${ATTEMPT_SUMMARY} as summary, null as flags, null as diff,
           null as before_certainty, null as after_certainty, null as inferred, null as resource_version, null as generation, c.audit_id, c.request_uri,
           ${sql.raw(eventIDSql('c'))} as event_id,
           null as attribution_state, null as attribution_rule, null as attribution_reason, null as root_api_group, null as root_resource,
           null as root_namespace, null as root_name, null as trigger_change_id, null as trigger_at, null as trigger_username,
           null as trigger_summary, null as trigger_api_group, null as trigger_resource, null as trigger_namespace, null as trigger_name,
           null as content_change_id, null as content_at, null as verdict, null as verdict_reason, null as verdict_environment,
           null as verdict_final, null as verdict_root_change_id, null as verdict_root, null as verdict_root_reason,
           null as approvers, null as pull_requests, null as link_rule, null as link_strength, null as link_sources
      from (${events}) c
      join clusters k on k.id = c.cluster_id
      join sources s on s.id = c.source_id
      join users u on u.cluster_id = c.cluster_id and u.id = c.user_id
      left join users i on i.cluster_id = c.cluster_id and i.id = c.impersonated_user_id
      left join user_agents a on a.cluster_id = c.cluster_id and a.id = c.user_agent_id
      left join objects o on o.cluster_id = c.cluster_id and o.id = c.object_id`;
}

/**
 * The rows of `changes` that a statement finds, told; in no order. In two steps, since the one that tells them can be
 * planned once and for all.
 * @param keyed it looks them up by key, and is to be prepared too (see `prepared`)
 */
export async function findChangeRows(
  db: Kysely<Database>,
  changes: RawBuilder<unknown>,
  keyed: boolean,
): Promise<ChangeRow[]> {
  const keys = sql<{ cluster_id: number; at: string; change_id: string; trigger_at: string | null }>`
    select cluster_id, at, change_id,
           (select t.trigger_at from attributions t where t.cluster_id = c.cluster_id and t.change_id = c.change_id) as trigger_at
      from (${changes}) c`;
  const found = (await (keyed ? prepared(keys) : keys).execute(db)).rows;
  if (found.length === 0) return [];
  const at = spanOf(found.map((row) => row.at));
  const triggerAt = spanOf(found.flatMap((row) => row.trigger_at ?? []));
  const selected = sql`
      select c.* from unnest(${found.map((row) => row.cluster_id)}::integer[], ${found.map((row) => row.at)}::timestamptz[],
                             ${found.map((row) => row.change_id)}::uuid[]) q (cluster_id, at, change_id)
       cross join lateral (
         select * from changes
          where cluster_id = q.cluster_id and at = q.at and change_id = q.change_id and ${within(at)} limit 1) c`;
  const { rows } = await prepared(tellChanges(selected, { at, triggerAt })).execute(db);
  return rows;
}

/** The same for rows of `events` that tell of attempts. */
export async function findAttemptRows(
  db: Kysely<Database>,
  events: RawBuilder<unknown>,
): Promise<ChangeRow[]> {
  const keys = sql<{ cluster_id: number; at: string; digest: Buffer; source_id: number }>`
    select cluster_id, at, digest, source_id from (${events}) c`;
  const found = (await keys.execute(db)).rows;
  if (found.length === 0) return [];
  const selected = sql`
      select c.* from unnest(${found.map((row) => row.cluster_id)}::integer[], ${found.map((row) => row.at)}::timestamptz[],
                             ${found.map((row) => row.digest)}::bytea[], ${found.map((row) => row.source_id)}::integer[])
                        q (cluster_id, at, digest, source_id)
       cross join lateral (
         select * from events
          where cluster_id = q.cluster_id and at = q.at and digest = q.digest and source_id = q.source_id
            and ${within(spanOf(found.map((row) => row.at)))} limit 1) c`;
  const { rows } = await prepared(tellAttempts(selected)).execute(db);
  return rows;
}

/** The order of lists: by time, then by id. */
export function newestFirst(a: ChangeRow, b: ChangeRow): number {
  if (a.at !== b.at) return a.at < b.at ? 1 : -1;
  return a.change_id < b.change_id ? 1 : -1;
}
