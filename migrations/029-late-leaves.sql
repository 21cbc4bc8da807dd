-- Verdicts and access events that were stored before they had leaves in the proof log get them once, later, and their
-- leaves say so (core/log/leaf.ts, lateLeaf). A leaf's time and origin are in its hash: these columns tell how to write it
-- anew, and who alters them finds that it doesn't fit.
alter table log_pending add column late_at timestamptz;
alter table log_runs add column late_at timestamptz;

-- What is to get late leaves: the numbers from next_seq up to, and without, before_seq. Gone when that is done.
create table log_late (
  type text not null check (type in ('verdict', 'access')),
  cluster_id integer not null,         -- 0 for none
  next_seq bigint not null,
  before_seq bigint not null,
  primary key (type, cluster_id)
);

-- Only what is older than the first record of its kind and cluster that has a leaf: behind that one, none may lack it.
insert into log_late (type, cluster_id, next_seq, before_seq)
select r.type, r.cluster_id, r.first, coalesce(l.first, r.last + 1)
  from (select 'verdict' as type, cluster_id, min(id) as first, max(id) as last from verdicts group by cluster_id
        union all
        select 'access', 0, min(seq), max(seq) from access_events having count(*) > 0) r
  left join (select type, cluster_id, min(first_seq) as first
               from (select type, cluster_id, first_seq from log_runs union all
                     select type, cluster_id, first_seq from log_pending) known
              group by type, cluster_id) l on l.type = r.type and l.cluster_id = r.cluster_id
 where l.first is null or r.first < l.first;
