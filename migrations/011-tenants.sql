-- Who may see what, and who looked.

-- null: all of them. A token that names clusters or namespaces is a tenant's.
alter table api_tokens add column clusters text[], add column namespaces text[];

-- A tenant's questions are asked under this role (store/tenant.ts): it sees what the policies below show it, and no table
-- that isn't granted to it here. The application's own role owns the tables, and is not held by the policies.
do $$
begin
  if not exists (select from pg_roles where rolname = 'whochanged_tenant') then
    create role whochanged_tenant nologin;
  end if;
exception when duplicate_object then null; -- another database of this server was migrated at the same moment
end $$;
do $$
begin
  execute format('grant whochanged_tenant to %I', current_user);
exception when invalid_grant_operation or insufficient_privilege then null; -- who created it is a member already
end $$;

-- The scope of the transaction: `CLUSTER_ID/NAMESPACE`, or `CLUSTER_ID/*` for all of a cluster, several with commas.
create function tenant_scope() returns text[] stable parallel safe language sql as
  $$ select string_to_array(current_setting('whochanged.scope', true), ',') $$;

-- Each policy asks for the scope in a sub-select, so that it is read once a query and not once a row.
alter table clusters enable row level security;
create policy tenant on clusters for select to whochanged_tenant using (
  exists (select from unnest((select tenant_scope())) s where split_part(s, '/', 1) = id::text));

alter table sources enable row level security;
create policy tenant on sources for select to whochanged_tenant using (
  exists (select from clusters c where c.id = cluster_id));

alter table objects enable row level security;
create policy tenant on objects for select to whochanged_tenant using (
  cluster_id || '/' || namespace = any ((select tenant_scope())::text[])
  or cluster_id || '/*' = any ((select tenant_scope())::text[]));

alter table changes enable row level security;
create policy tenant on changes for select to whochanged_tenant using (
  cluster_id || '/' || namespace = any ((select tenant_scope())::text[])
  or cluster_id || '/*' = any ((select tenant_scope())::text[]));

-- An event of no object (a login that failed, say) is the whole cluster's.
alter table events enable row level security;
create policy tenant on events for select to whochanged_tenant using (
  cluster_id || '/*' = any ((select tenant_scope())::text[])
  or exists (select from objects o where o.cluster_id = events.cluster_id and o.id = events.object_id));

-- What a visible row refers to. Their keys are digests: whoever has no row that names one can't ask for it.
alter table users enable row level security;
create policy tenant on users for select to whochanged_tenant using (
  exists (select from clusters c where c.id = cluster_id));
alter table user_agents enable row level security;
create policy tenant on user_agents for select to whochanged_tenant using (
  exists (select from clusters c where c.id = cluster_id));
alter table authorizations enable row level security;
create policy tenant on authorizations for select to whochanged_tenant using (
  exists (select from clusters c where c.id = cluster_id));
alter table bodies enable row level security;
create policy tenant on bodies for select to whochanged_tenant using (
  exists (select from clusters c where c.id = cluster_id));
alter table attributions enable row level security;
create policy tenant on attributions for select to whochanged_tenant using (
  exists (select from changes c where c.cluster_id = attributions.cluster_id and c.change_id = attributions.change_id
                                  and c.at = attributions.at));

grant select on clusters, sources, objects, changes, events, users, user_agents, authorizations, bodies, attributions
  to whochanged_tenant;

-- Who asked for what: one row for each request to the API, written before it is answered.
create sequence access_seq increment by 1024;
create table access_events (
  seq bigint primary key,
  at timestamptz not null,
  caller text not null,                -- '' where nobody could be told
  caller_kind text not null,
  role text,
  clusters text[],                     -- null: all
  namespaces text[],
  method text not null,
  route text not null,
  target text not null,                -- path and query as they were asked
  status smallint not null,
  source_ip text not null,
  request_id text not null,
  digest bytea not null                -- SHA-256 of the canonical access event (core/access/access-event.ts)
);
create index access_events_at on access_events (at);
create index access_events_caller on access_events (caller, seq);
