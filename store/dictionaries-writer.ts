import type { ClientBase } from 'pg';
import { RecentSet } from '../core/recent.js';
import type { ContextRow, Dictionaries } from './dictionaries.js';

/** Of each kind, in each cluster. What is forgotten is inserted again, to no effect. */
const RECENT_ENTRIES = 5000;

/** Dictionary entries that the store is known to hold; entries are never deleted. */
export class KnownEntries {
  readonly users = new RecentSet<bigint>(RECENT_ENTRIES);
  readonly userAgents = new RecentSet<bigint>(RECENT_ENTRIES);
  readonly objects = new RecentSet<string>(RECENT_ENTRIES);
  readonly authorizations = new RecentSet<bigint>(RECENT_ENTRIES);
  readonly contexts = new RecentSet<bigint>(RECENT_ENTRIES);
  /** Reference columns of rows whose entries are all there. */
  readonly references = new RecentSet<string>(RECENT_ENTRIES);

  /** To be called once the entries' transaction has committed. */
  confirm(dictionaries: Dictionaries): void {
    confirm(this.users, dictionaries.users.keys());
    confirm(this.userAgents, dictionaries.userAgents.keys());
    confirm(this.objects, dictionaries.objects.keys());
    confirm(this.authorizations, dictionaries.authorizations.keys());
    confirm(this.contexts, dictionaries.contexts.keys());
    confirm(this.references, dictionaries.references.keys());
  }
}

function confirm<T>(known: RecentSet<T>, ids: Iterable<T>): void {
  for (const id of ids) known.add(id);
}

/** Inserts the entries that are not known to be there. */
export async function appendDictionaries(
  client: ClientBase,
  clusterID: number,
  dictionaries: Dictionaries,
  known: KnownEntries,
): Promise<void> {
  const users = [...dictionaries.users.values()].filter(({ id }) => !known.users.has(id));
  if (users.length > 0) {
    await client.query({
      name: 'append-users',
      text: `insert into users (cluster_id, id, username, uid, groups, extra)
             select $1, u.id, u.username, u.uid, (select array_agg(g) from jsonb_array_elements_text(u.groups) g), u.extra
               from jsonb_to_recordset($2::jsonb) as u (id bigint, username text, uid text, groups jsonb, extra jsonb)
             on conflict do nothing`,
      values: [
        clusterID,
        JSON.stringify(
          users.map(({ id, user }) => ({
            id: String(id),
            username: user.username,
            uid: user.uid,
            groups: user.groups ?? [],
            extra: user.extra,
          })),
        ),
      ],
    });
  }
  const agents = [...dictionaries.userAgents.values()].filter(({ id }) => !known.userAgents.has(id));
  if (agents.length > 0) {
    await client.query({
      name: 'append-user-agents',
      text: `insert into user_agents (cluster_id, id, user_agent, tool, tool_version)
             select $1, * from unnest($2::bigint[], $3::text[], $4::text[], $5::text[]) on conflict do nothing`,
      values: [
        clusterID,
        agents.map((row) => String(row.id)),
        agents.map((row) => row.userAgent),
        agents.map((row) => row.tool),
        agents.map((row) => row.version ?? null),
      ],
    });
  }
  const objects = [...dictionaries.objects.values()].filter(({ id }) => !known.objects.has(id));
  if (objects.length > 0) {
    await client.query({
      name: 'append-objects',
      text: `insert into objects (cluster_id, id, api_group, resource, namespace, name)
             select $1, * from unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[]) on conflict do nothing`,
      values: [
        clusterID,
        objects.map((row) => row.id),
        objects.map((row) => row.apiGroup),
        objects.map((row) => row.resource),
        objects.map((row) => row.namespace),
        objects.map((row) => row.name),
      ],
    });
  }
  const authorizations = [...dictionaries.authorizations.values()].filter(
    ({ id }) => !known.authorizations.has(id),
  );
  if (authorizations.length > 0) {
    await client.query({
      name: 'append-authorizations',
      text: `insert into authorizations (cluster_id, id, decision, reason)
             select $1, * from unnest($2::bigint[], $3::text[], $4::text[]) on conflict do nothing`,
      values: [
        clusterID,
        authorizations.map((row) => String(row.id)),
        authorizations.map((row) => row.decision ?? null),
        authorizations.map((row) => row.reason ?? null),
      ],
    });
  }
  const contexts = [...dictionaries.contexts.values()].filter(({ id }) => !known.contexts.has(id));
  if (contexts.length > 0) {
    await client.query({
      name: 'append-contexts',
      text: `insert into event_contexts (cluster_id, id, api_version, level, verb, code, status, user_agent_id, authorization_id,
               source_ips, ref_api_version, path, uri_rest, annotations, authentication_metadata)
             select $1, c.id, c.api_version, c.level, c.verb, c.code, c.status, c.user_agent_id, c.authorization_id, c.source_ips,
                    c.ref_api_version, c.path, c.uri_rest, c.annotations, c.authentication_metadata
               from jsonb_to_recordset($2::jsonb) as c (id bigint, api_version text, level audit_level, verb text, code smallint,
                 status jsonb, user_agent_id bigint, authorization_id bigint, source_ips text[], ref_api_version text, path text,
                 uri_rest text, annotations jsonb, authentication_metadata jsonb)
             on conflict do nothing`,
      values: [clusterID, JSON.stringify(contexts.map(contextColumns))],
    });
  }
}

/** Ids as text: JSON's numbers may not be exact. */
function contextColumns({ id, context, userAgentID, authorizationID }: ContextRow) {
  return {
    id: String(id),
    api_version: context.apiVersion,
    level: context.level,
    verb: context.verb,
    code: context.code,
    status: context.status,
    user_agent_id: userAgentID?.toString(),
    authorization_id: authorizationID?.toString(),
    source_ips: context.sourceIPs,
    ref_api_version: context.refApiVersion,
    path: context.path,
    uri_rest: context.uriRest,
    annotations: context.annotations,
    authentication_metadata: context.authenticationMetadata,
  };
}
