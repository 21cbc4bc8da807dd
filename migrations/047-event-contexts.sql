-- What repeats in nearly every event leaves its row: a row of `event_rows` refers to a row of `event_contexts`. `events` is the
-- view that puts them together again, column by column what the table was, for everyone who reads.

create table event_contexts (
  cluster_id integer not null,
  id bigint not null,                  -- first 8 bytes of the SHA-256 of its canonical text (core/event-context.ts)
  api_version text not null,
  level audit_level not null,
  verb text not null,
  code smallint,
  status jsonb,                        -- responseStatus without its code, where it has neither message nor details
  user_agent_id bigint,
  authorization_id bigint,
  source_ips text[],
  ref_api_version text,                -- objectRef.apiVersion
  path text check (path in ('object', 'collection')), -- requestURI begins with the path of the objectRef, with its name or without
  uri_rest text,                       -- what of requestURI doesn't follow from the objectRef, where it is likely to repeat
  annotations jsonb,                   -- those that say the same of many requests
  authentication_metadata jsonb,
  primary key (cluster_id, id)
);

-- A UUID takes 16 bytes, as most ids are one. Anything else stands behind a byte that no UTF-8 has, or two, so that it isn't 16
-- bytes long.
create function id_bytes(id text) returns bytea immutable parallel safe language sql as $$
  select case
    when id ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' then decode(replace(id, '-', ''), 'hex')
    when octet_length(id) = 15 then '\xffff'::bytea || convert_to(id, 'UTF8')
    else '\xff'::bytea || convert_to(id, 'UTF8') end $$;
create function id_text(bytes bytea) returns text immutable parallel safe language sql as $$
  select case when octet_length(bytes) = 16 then encode(bytes, 'hex')::uuid::text
              else convert_from(ltrim(bytes, '\xff'::bytea), 'UTF8') end $$;

-- k8s.io/apiserver/pkg/endpoints/request/requestinfo.go, the other way round. '' where there is none.
create function resource_path(api_group text, api_version text, namespace text, resource text, name text, subresource text)
  returns text immutable parallel safe language sql as $$
  select case when api_group = '' then '/api/' else '/apis/' || api_group || '/' end || api_version
      || case when namespace = '' or resource = 'namespaces' then '' else '/namespaces/' || namespace end || '/' || resource
      || case when name = '' then '' else '/' || name end || case when subresource = '' then '' else '/' || subresource end $$;

-- Every accepted event. Identity is (source, digest); auditID groups and never deduplicates, since clients can set it. What
-- is stored already is known before a row is written (store/known-events.ts), under the cluster's lock.
create table event_rows (
  at timestamptz not null,             -- requestReceivedTimestamp
  stage_at timestamptz not null,
  seq bigint not null,                 -- order of commit within the cluster
  user_id bigint not null,
  impersonated_user_id bigint,
  context_id bigint not null,
  cluster_id integer not null,
  source_id integer not null,
  class event_class not null,
  stage audit_stage not null,
  request_id uuid not null,            -- one per request, the same for all its stages; its change's id
  object_id uuid,
  subresource text,
  digest bytea not null,               -- SHA-256 of the canonical redacted event (core/canonical.ts)
  audit_id bytea not null,             -- id_bytes
  uri_rest text,                       -- what of requestURI doesn't follow from the objectRef, where the context has none
  object_uid bytea,                    -- objectRef.uid as id_bytes
  object_resource_version text,
  status jsonb,                        -- where the context has none
  annotations jsonb,                   -- but authorization.k8s.io/* and what the context has
  request_digest bytea,                -- bodies.digest
  response_digest bytea
) partition by range (at);

alter table events rename to old_events;

-- Old rows are taken apart a month at a time. `offset 0` keeps what one step has computed from being computed again by the next.
create function pg_temp.of_many(key text) returns boolean immutable language sql as $$
  select key ~ '^(k8s\.io/|mutation\.webhook\.|failed-open\.|podsecuritypolicy\.|pod-security\.kubernetes\.io/(enforce-policy|exempt)$)' $$;
create function pg_temp.begins(uri text, path text) returns boolean immutable language sql as $$
  select starts_with(uri, path) and substr(uri, length(path) + 1, 1) in ('', '?') $$;
do $$
declare
  part record;
begin
  for part in
    select c.relname as name, pg_get_expr(c.relpartbound, c.oid) as bounds
      from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = 'old_events'::regclass order by 1
  loop
    execute format('create table %I partition of event_rows %s', 'event_rows' || substr(part.name, length('events') + 1), part.bounds);
    execute format($query$
      create temporary table apart as
      select *, ('x' || left(md5(jsonb_build_array(api_version, level, verb, code, context_status, user_agent_id, authorization_id,
                  source_ips, ref_api_version, path, context_rest, context_annotations, authentication_metadata)::text), 16))::bit(64)::bigint as context_id
        from (
          select *, case when not varies then nullif(rest, '') end as context_rest, case when varies then rest end as uri_rest
            from (
              select *, path is null and object_id is not null or length(rest) > 200
                        or rest ~ '[?&](resourceVersion|continue|timeoutSeconds|sinceTime|sinceSeconds)=[^0&]' as varies
                from (
                  select *, case path when 'object' then substr(request_uri, length(object_path) + 1)
                                      when 'collection' then substr(request_uri, length(collection_path) + 1)
                                      else request_uri end as rest
                    from (
                      select *, case when pg_temp.begins(request_uri, object_path) then 'object'
                                     when pg_temp.begins(request_uri, collection_path) then 'collection' end as path
                        from (
                          select e.*,
                                 case when not e.status ?| array['message', 'details'] then e.status end as context_status,
                                 case when e.annotations is not null then
                                   (select jsonb_object_agg(key, value) from jsonb_each(e.annotations) where pg_temp.of_many(key)) end as context_annotations,
                                 case when e.annotations is not null then
                                   (select jsonb_object_agg(key, value) from jsonb_each(e.annotations) where not pg_temp.of_many(key)) end as own_annotations,
                                 case when o.resource <> '' then
                                   resource_path(o.api_group, ref_api_version, o.namespace, o.resource, o.name, coalesce(subresource, '')) end as object_path,
                                 case when o.resource <> '' and o.name <> '' then
                                   resource_path(o.api_group, ref_api_version, o.namespace, o.resource, '', coalesce(subresource, '')) end as collection_path
                            from (select *, object_ref ->> 'apiVersion' as ref_api_version, object_ref ->> 'subresource' as subresource
                                    from %I offset 0) e
                            left join objects o on o.cluster_id = e.cluster_id and o.id = e.object_id offset 0) e offset 0) e offset 0) e offset 0) e
          offset 0) e$query$, part.name);
    insert into event_contexts
      select cluster_id, context_id, api_version, level, verb, code, context_status, user_agent_id, authorization_id, source_ips,
             ref_api_version, path, context_rest, context_annotations, authentication_metadata
        from apart where ctid in (select min(ctid) from apart group by cluster_id, context_id)
          on conflict do nothing;
    insert into event_rows
      select at, stage_at, seq, user_id, impersonated_user_id, context_id, cluster_id, source_id, class, stage, request_id, object_id,
             subresource, digest, id_bytes(audit_id), uri_rest, id_bytes(object_ref ->> 'uid'), object_ref ->> 'resourceVersion',
             case when context_status is null then status end, own_annotations, request_digest, response_digest
        from apart;
    drop table apart;
  end loop;
end $$;
drop function pg_temp.of_many, pg_temp.begins;
drop table old_events;

create view events with (security_invoker = true) as
  select r.cluster_id, r.at, r.digest, r.source_id, r.seq, r.request_id, id_text(r.audit_id) as audit_id, x.api_version, r.stage,
         x.level, r.class, r.stage_at, x.verb,
         case when x.path is null then ''
              else resource_path(o.api_group, x.ref_api_version, o.namespace, o.resource,
                                 case when x.path = 'object' then o.name else '' end, coalesce(r.subresource, '')) end
           || coalesce(r.uri_rest, x.uri_rest, '') as request_uri,
         r.object_id, r.subresource,
         -- objectRef's fields that its object doesn't have
         nullif(jsonb_strip_nulls(jsonb_build_object('apiVersion', x.ref_api_version, 'uid', id_text(r.object_uid),
           'resourceVersion', r.object_resource_version, 'subresource', r.subresource)), '{}') as object_ref,
         r.user_id, r.impersonated_user_id, x.user_agent_id, x.source_ips, x.code, coalesce(r.status, x.status) as status,
         x.authorization_id,
         case when r.annotations is null then x.annotations else coalesce(x.annotations, '{}') || r.annotations end as annotations,
         r.annotations as own_annotations, -- of these there are indexes
         x.authentication_metadata, r.request_digest, r.response_digest
    from event_rows r
    left join event_contexts x on x.cluster_id = r.cluster_id and x.id = r.context_id
    left join objects o on o.cluster_id = r.cluster_id and o.id = r.object_id;

-- The stages of a request share an entry of the first two: a digest in their key would cost four times as much.
create index event_rows_at on event_rows (cluster_id, at);
create index event_rows_audit_id on event_rows (cluster_id, hashtext(id_text(audit_id)));
create index event_rows_user on event_rows (cluster_id, user_id, at) where class <> 'stage';
create index event_rows_object on event_rows (cluster_id, object_id, at) where class <> 'stage';
create index event_rows_class on event_rows (cluster_id, class, at)
  where class in ('dry_run', 'no_op', 'rejected', 'failed_auth', 'secret_read');
create index event_rows_refused_access on event_rows (cluster_id, subresource, at) where class = 'rejected';
create index event_rows_panic on event_rows (cluster_id, at) where stage = 'Panic';
create index event_rows_truncated on event_rows (cluster_id, seq) where annotations ? 'audit.k8s.io/truncated';
create index event_rows_gate on event_rows (cluster_id, (annotations->>'gate.whochanged.io/decision'))
  where annotations ? 'gate.whochanged.io/decision';
-- Events come in nearly in the order of both.
create index event_rows_stage_at on event_rows using brin (stage_at) with (pages_per_range = 64, autosummarize = on);
create index event_rows_seq on event_rows using brin (seq) with (pages_per_range = 64, autosummarize = on);

-- An event of no object (a login that failed, say) is the whole cluster's.
alter table event_rows enable row level security;
create policy tenant on event_rows for select to whochanged_tenant using (
  cluster_id || '/*' = any ((select tenant_scope())::text[])
  or exists (select from objects o where o.cluster_id = event_rows.cluster_id and o.id = event_rows.object_id));
alter table event_contexts enable row level security;
create policy tenant on event_contexts for select to whochanged_tenant using (
  exists (select from clusters c where c.id = cluster_id));
grant select on event_rows, event_contexts, events to whochanged_tenant;
