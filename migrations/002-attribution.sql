-- Late evidence overturns the attributions of one root from one time on (store/attribution.ts, findTouched).
create index attributions_root on attributions (cluster_id, root_object_id, at);
