import { podOf, serviceAccountOf } from '../core/actors.js';
import { certaintyOf, lessSure } from '../core/state.js';
import type { VerdictName } from '../core/verdict/verdict.js';
import type { ChangeRow } from '../store/queries/change-rows.js';
import type { ChangeItem } from './change-schema.js';

interface ObjectParts {
  api_group: string;
  api_version?: string | null;
  resource: string;
  namespace: string;
  name: string;
  subresource?: string | null;
  uid?: string | null;
}

/** `apps/deployments shop/web`; the core group and what isn't there are left out. */
export function objectItem(parts: ObjectParts): ChangeItem['object'] {
  const type = [parts.api_group, parts.resource].filter(Boolean).join('/');
  const place = [parts.namespace, parts.name].filter(Boolean).join('/');
  return {
    group: parts.api_group,
    ...(parts.api_version && { version: parts.api_version }),
    resource: parts.resource,
    ...(parts.namespace && { namespace: parts.namespace }),
    ...(parts.name && { name: parts.name }),
    ...(parts.subresource && { subresource: parts.subresource }),
    ...(parts.uid && { uid: parts.uid }),
    text: [type, place].filter(Boolean).join(' '),
  };
}

export function actorItem(
  row: Pick<
    ChangeRow,
    'username' | 'user_uid' | 'groups' | 'extra' | 'impersonated_username' | 'impersonated_groups'
  >,
): ChangeItem['actor'] {
  const serviceAccount = serviceAccountOf(row.username);
  const pod = podOf({ username: row.username, ...(row.extra && { extra: row.extra }) });
  return {
    username: row.username,
    ...(row.user_uid && { uid: row.user_uid }),
    ...(row.groups && { groups: row.groups }),
    ...(row.extra && { extra: row.extra }),
    ...(serviceAccount && { serviceAccount }),
    ...(pod && { pod }),
    ...(row.impersonated_username !== null && {
      impersonatedUser: {
        username: row.impersonated_username,
        ...(row.impersonated_groups && { groups: row.impersonated_groups }),
      },
    }),
  };
}

/** A row as the API answers it. */
export function changeItem(row: ChangeRow): ChangeItem {
  const diff = row.diff ? labelled(row, row.diff) : undefined;
  return {
    id: row.change_id,
    seq: row.seq,
    at: row.at,
    ...(row.completed_at && { completedAt: row.completed_at }),
    cluster: row.cluster,
    source: row.source,
    class: row.class,
    ...(row.kind && { kind: row.kind }),
    ...(row.outcome && { outcome: row.outcome }),
    verb: row.verb,
    ...(row.patch_type && { patchType: row.patch_type }),
    ...(row.code !== null && { code: row.code }),
    object: objectItem(row),
    actor: actorItem(row),
    tool: {
      name: row.tool,
      ...(row.tool_version && { version: row.tool_version }),
      ...(row.user_agent && { userAgent: row.user_agent }),
    },
    ...(row.source_ips && { sourceIPs: row.source_ips }),
    summary: row.summary,
    flags: row.flags ?? [],
    ...(diff && { diff }),
    ...certaintyItem(row, diff),
    ...(row.resource_version && { resourceVersion: row.resource_version }),
    ...(row.generation !== null && { generation: Number(row.generation) }),
    auditID: row.audit_id,
    requestURI: row.request_uri,
    ...(row.event_id && { eventID: row.event_id }),
    ...attributionItem(row),
    ...verdictItem(row),
  };
}

function verdictItem(row: ChangeRow): Pick<ChangeItem, 'link' | 'approval' | 'verdict'> {
  const approvers = [...new Set(row.approvers ?? [])];
  const pullRequests = [...new Map((row.pull_requests ?? []).map((one) => [one.url, one])).values()];
  return {
    ...(row.link_rule && {
      link: { rule: row.link_rule, strength: row.link_strength!, sources: row.link_sources ?? [] },
    }),
    ...((approvers.length > 0 || pullRequests.length > 0) && { approval: { approvers, pullRequests } }),
    ...(row.verdict && {
      verdict: {
        verdict: row.verdict,
        ...(row.verdict_reason && { reason: row.verdict_reason }),
        environment: row.verdict_environment!,
        final: row.verdict_final!,
        ...rootItem(row.verdict_root_change_id, row.verdict_root, row.verdict_root_reason),
      },
    }),
  };
}

/** What is said of the change behind a consequence. */
export function rootItem(
  changeID: string | null,
  verdict: VerdictName | null,
  reason: string | null,
): { root?: { changeID: string; verdict?: VerdictName; reason?: string } } {
  if (changeID === null) return {};
  return { root: { changeID, ...(verdict && { verdict }), ...(reason && { reason }) } };
}

/** A field change is as sure as the less sure of the two states it was found between. */
function labelled(row: ChangeRow, diff: NonNullable<ChangeRow['diff']>): NonNullable<ChangeItem['diff']> {
  const gap = row.flags?.some((flag) => flag === 'before_unknown' || flag === 'generation_gap') ?? false;
  const before = !gap && row.before_certainty === 'exact' ? 'exact' : 'inferred';
  const after = {
    object: {},
    certainty: row.after_certainty ?? 'unknown',
    inferred: row.inferred ?? undefined,
  };
  return diff.map((change) => ({
    ...change,
    certainty: lessSure([before, certaintyOf(after, change.path).certainty]),
  }));
}

function certaintyItem(row: ChangeRow, diff: ChangeItem['diff']): Pick<ChangeItem, 'certainty'> {
  const after =
    row.after_certainty ?? (row.flags?.includes('content_not_recorded') ? ('unknown' as const) : undefined);
  if (!after && !row.before_certainty) return {};
  const sides = [row.before_certainty, after].filter((side) => side !== null && side !== undefined);
  const summary = lessSure(diff?.length ? diff.map(({ certainty }) => certainty) : sides);
  return {
    certainty: {
      ...(row.before_certainty && { before: row.before_certainty }),
      ...(after && { after }),
      summary,
    },
  };
}

function attributionItem(row: ChangeRow): Pick<ChangeItem, 'attribution'> {
  // A request without a user name has no author, whether or not the job has come by yet.
  if (row.attribution_state === null) {
    return row.username === ''
      ? { attribution: { state: 'unresolved', rule: 'author', reason: 'the audit event names no user' } }
      : {};
  }
  return {
    attribution: {
      state: row.attribution_state,
      rule: row.attribution_rule!,
      ...(row.attribution_reason && { reason: row.attribution_reason }),
      ...(row.root_resource && {
        root: objectItem({
          api_group: row.root_api_group!,
          resource: row.root_resource,
          namespace: row.root_namespace!,
          name: row.root_name!,
        }),
      }),
      ...(row.trigger_change_id && {
        trigger: {
          id: row.trigger_change_id,
          at: row.trigger_at!,
          ...(row.trigger_username !== null && { actor: row.trigger_username }),
          ...(row.trigger_resource && {
            object: objectItem({
              api_group: row.trigger_api_group!,
              resource: row.trigger_resource,
              namespace: row.trigger_namespace!,
              name: row.trigger_name!,
            }),
          }),
          ...(row.trigger_summary !== null && { summary: row.trigger_summary }),
        },
      }),
      ...(row.content_change_id && { content: { id: row.content_change_id, at: row.content_at! } }),
    },
  };
}
