-- What happened in all runs of an organisation since somebody looked: numbers count per run, so that runs do not wait for one
-- another, and what was seen of all of them together is a snapshot: which transactions had ended by then.
set role bos_owner;
alter table ops.run_events add column tx xid8 not null default pg_current_xact_id();
create index on ops.run_events (org_id, tx);
-- What ended between two snapshots. It reads as its caller.
create function ops.run_news(p_seen text, p_upto text, p_limit int)
returns table (run_id text, seq bigint, at timestamptz, type text, payload jsonb, repo text, branch text)
language sql stable set search_path = ops, pg_temp as $$
  select e.run_id, e.seq, e.at, e.type, e.payload, r.repo_name, r.branch
    from ops.run_events e left join ops.runs r on r.org_id = e.org_id and r.id = e.run_id
   where e.org_id = ops.org() and e.tx >= pg_snapshot_xmin(p_seen::pg_snapshot)
     and e.tx < pg_snapshot_xmax(p_upto::pg_snapshot)
     and not pg_visible_in_snapshot(e.tx, p_seen::pg_snapshot) and pg_visible_in_snapshot(e.tx, p_upto::pg_snapshot)
   order by e.run_id, e.seq limit p_limit
$$;
revoke execute on function ops.run_news from public;
grant execute on function ops.run_news to bos_app;
reset role;
