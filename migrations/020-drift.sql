-- What drift is told from: which applications there are, and what last brought each object from git.

-- The objects of GitOps controllers among all others (store/queries/applications.ts repeats the condition).
create index objects_applications on objects (cluster_id, namespace, name, resource)
  where api_group in ('argoproj.io', 'kustomize.toolkit.fluxcd.io', 'helm.toolkit.fluxcd.io')
    and resource in ('applications', 'kustomizations', 'helmreleases');

drop index links_object;
create index links_object on links (cluster_id, object_id, at) where selected;
