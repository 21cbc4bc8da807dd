-- Links and verdicts as answers: what a tenant may see of them, and which objects belong to which application.

-- Every object that ever bore an application's mark, so that its drift is told without reading its history.
create table managed_objects (
  cluster_id integer not null,         -- of the object; a hub's applications are in another cluster
  application text not null,           -- core/links/tracking.ts: ENGINE/NAMESPACE/NAME
  object_id uuid not null,
  namespace text not null,             -- of the object
  primary key (cluster_id, application, object_id)
);
create index managed_objects_application on managed_objects (application, cluster_id);
insert into managed_objects (cluster_id, application, object_id, namespace)
select distinct cluster_id, application, object_id, namespace from current_verdicts where application is not null;

-- Rare reasons are asked for by themselves.
create index current_verdicts_reason on current_verdicts (cluster_id, reason, at, change_id) where reason is not null;
create index application_actions_at on application_actions (cluster_id, action, at, change_id);

alter table current_verdicts enable row level security;
create policy tenant on current_verdicts for select to whochanged_tenant using (
  cluster_id || '/' || namespace = any ((select tenant_scope())::text[])
  or cluster_id || '/*' = any ((select tenant_scope())::text[]));

-- What was said of a change is for whoever may see the change.
alter table verdicts enable row level security;
create policy tenant on verdicts for select to whochanged_tenant using (
  exists (select from current_verdicts v where v.cluster_id = verdicts.cluster_id and v.at = verdicts.at
                                           and v.change_id = verdicts.change_id));
alter table links enable row level security;
create policy tenant on links for select to whochanged_tenant using (
  exists (select from current_verdicts v where v.cluster_id = links.cluster_id and v.at = links.at
                                           and v.change_id = links.change_id));

-- Syncs and actions belong to the namespace of the Application or Kustomization.
alter table syncs enable row level security;
create policy tenant on syncs for select to whochanged_tenant using (
  cluster_id || '/' || namespace = any ((select tenant_scope())::text[])
  or cluster_id || '/*' = any ((select tenant_scope())::text[]));
alter table application_actions enable row level security;
create policy tenant on application_actions for select to whochanged_tenant using (
  cluster_id || '/' || namespace = any ((select tenant_scope())::text[])
  or cluster_id || '/*' = any ((select tenant_scope())::text[]));
alter table managed_objects enable row level security;
create policy tenant on managed_objects for select to whochanged_tenant using (
  cluster_id || '/' || namespace = any ((select tenant_scope())::text[])
  or cluster_id || '/*' = any ((select tenant_scope())::text[]));

grant select on current_verdicts, verdicts, links, syncs, application_actions, managed_objects to whochanged_tenant;
-- By which policy: its text is not a tenant's.
grant select (digest, version, name) on policies to whochanged_tenant;
