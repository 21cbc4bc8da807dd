import { type RawBuilder, type SqlBool, sql } from 'kysely';
import type { EventClass } from '../../core/vocabulary.js';
import {
  type ChangeFilter,
  isDoneBy,
  isNotByController,
  isOfClass,
  isOneOf,
  type ResolvedFilter,
  resourceCondition,
  timeConditions,
} from './change-filter.js';
import type { Span } from './time-steps.js';

/** Classes of events that `all` shows beside changes. Reads are shown only when asked for by class. */
const ATTEMPTS: EventClass[] = [
  'dry_run',
  'no_op',
  'rejected',
  'failed_auth',
  'lease',
  'kube_event',
  'review',
];
const EVENT_ONLY = new Set<EventClass>([...ATTEMPTS, 'read', 'secret_read']);

/** The classes asked for that are told by events, without a row in `changes`. */
export function attemptsOf(filter: ChangeFilter, all: boolean): EventClass[] {
  return (filter.classes ?? (all ? ATTEMPTS : [])).filter((item) => EVENT_ONLY.has(item));
}

/** Whether nothing is asked for that has a row in `changes`. */
export function onlyAttempts(filter: ChangeFilter): boolean {
  return filter.classes?.every((item) => EVENT_ONLY.has(item)) ?? false;
}

/** Kinds, fields, labels and verdicts are known of changes only. A tool that was never seen has made no request. */
export function canBeAttempt({ filter, userAgentIDs }: ResolvedFilter): boolean {
  if (userAgentIDs?.length === 0 && !filter.tools?.includes('unknown')) return false;
  if (filter.verdicts?.length || filter.commits) return false;
  return !filter.kinds?.length && !filter.fields?.length && !filter.labels?.length;
}

/**
 * A request stands once among attempts, by its last stage: a condition on rows of `events c` of a span of time. The span is
 * said of the later stage too, or else Postgres plans a look into each month that there is.
 */
export function isLastStage(span: Span): RawBuilder<SqlBool> {
  const within = [sql`later.at = c.at`, ...timeConditions(span, sql.ref('later.at'))];
  return sql<SqlBool>`not exists (
    select from events later where later.cluster_id = c.cluster_id and ${sql.join(within, sql` and `)}
       and later.request_id = c.request_id and later.stage > c.stage and later.class = c.class)`;
}

/** The conditions on rows of `events c`, joined with `objects o`. */
export function attemptConditions(
  { clusterID, objects, users, userAgentIDs, filter }: ResolvedFilter,
  classes: EventClass[],
): RawBuilder<unknown>[] {
  const conditions = [
    sql`c.cluster_id = ${clusterID}`,
    isOfClass('c.class', classes),
    ...timeConditions(filter, sql.ref('c.at')),
  ];
  if (objects) conditions.push(sql`${isOneOf('c.object_id', 'uuid', objects)} and c.class <> 'stage'`);
  if (users) conditions.push(sql`${isDoneBy(users)} and c.class <> 'stage'`);
  if (filter.withoutControllers) conditions.push(isNotByController());
  if (filter.subresources?.length) conditions.push(sql`c.subresource = any(${filter.subresources}::text[])`);
  if (filter.namespaces?.length) conditions.push(sql`o.namespace = any(${filter.namespaces}::text[])`);
  if (filter.resources?.length) conditions.push(resourceCondition(filter.resources, 'o'));
  if (userAgentIDs) {
    // A request without a user agent is of an unknown tool.
    const unnamed = filter.tools?.includes('unknown') ? sql`c.user_agent_id is null` : sql`false`;
    conditions.push(sql`(c.user_agent_id = any(${userAgentIDs}::bigint[]) or ${unnamed})`);
  }
  if (filter.verbs?.length) conditions.push(sql`c.verb = any(${filter.verbs}::text[])`);
  return conditions;
}
