-- How many changes a default answer shows in each hour of a cluster, so that the density of a year needn't count them. Kept by
-- triggers, since changes come, go and become something else in many ways: appended, mended by a late write, completed by a
-- later stage, archived, put back. Rows of a partition that are moved as they are (store/partitions.ts) leave them as they are.
create table change_counts (
  cluster_id integer not null,
  hour timestamptz not null,           -- its beginning
  count bigint not null,
  primary key (cluster_id, hour)
) with (fillfactor = 50);              -- the current hour's row is updated with every append, in place

-- `touched` are the rows that a statement put there, to be counted, or took away. Hours in order: two transactions never wait for
-- each other's.
create function count_changes() returns trigger language plpgsql as $$
begin
  insert into change_counts as k (cluster_id, hour, count)
  select cluster_id, date_bin('1 hour', at, '2001-01-01T00:00:00Z') as hour, tg_argv[0]::integer * count(*)
    from touched where class in ('change', 'access') group by 1, 2 order by 1, 2
      on conflict (cluster_id, hour) do update set count = k.count + excluded.count;
  return null;
end $$;

insert into change_counts (cluster_id, hour, count)
select cluster_id, date_bin('1 hour', at, '2001-01-01T00:00:00Z'), count(*)
  from changes where class in ('change', 'access') group by 1, 2;

create trigger count_inserted after insert on changes
  referencing new table as touched for each statement execute function count_changes('1');
create trigger count_deleted after delete on changes
  referencing old table as touched for each statement execute function count_changes('-1');
create trigger count_before_update after update on changes
  referencing old table as touched for each statement execute function count_changes('-1');
create trigger count_after_update after update on changes
  referencing new table as touched for each statement execute function count_changes('1');
