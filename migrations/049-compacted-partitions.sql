-- Months whose indexes were built anew once they were over (store/compaction.ts). A partition that is made again under a name is
-- not the one that was compacted: it is told by its oid.
create table compacted_partitions (
  partition oid primary key,
  compacted_at timestamptz not null default now()
);
