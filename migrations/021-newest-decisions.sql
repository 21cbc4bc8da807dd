-- The gate's decisions, newest first, over all clusters.
create index gate_decisions_newest on gate_decisions (at, id);
create index gate_decisions_outcome on gate_decisions (outcome, at, id);
