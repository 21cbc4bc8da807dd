-- Late evidence overturns the attributions of one root from one time on (store/attribution.ts, findTouched).
create index attributions_root on attributions (cluster_id, root_object_id, at);

-- Few, and looked at every minute: an answer that comes late may be none that makes a change.
create index changes_unknown on changes (cluster_id, at) where outcome = 'unknown';
