-- A filter by a value that few rows have, or none, would otherwise go through all changes in the order of time.
create index changes_resource on changes (cluster_id, resource, at) where class in ('change', 'access');
create index changes_tool on changes (cluster_id, tool, at) where class in ('change', 'access');
create index changes_verb on changes (cluster_id, verb, at) where class in ('change', 'access');
create index changes_impersonated on changes (cluster_id, impersonated_user_id, at)
  where class in ('change', 'access') and impersonated_user_id is not null;
create index events_refused_access on events (cluster_id, (object_ref->>'subresource'), at) where class = 'rejected';
create index events_panic on events (cluster_id, at) where stage = 'Panic';
create index changes_access on changes (cluster_id, at) where class = 'access';
