-- What happened in a run, in order: append-only, numbered from 1 without gaps per run. Whoever follows a run reads from the
-- last number seen; NOTIFY only wakes. A number is given under a lock that lasts until the commit, so that what a reader
-- sees is never overtaken by a smaller number.
set role bos_owner;
create table ops.run_events (
  org_id text not null references ops.orgs,
  run_id text not null,
  seq bigint not null,
  at timestamptz not null,
  type text not null,
  payload jsonb not null,
  primary key (org_id, run_id, seq)
);
-- What a page about a run shows of thousands of steps: those that failed, and the last that left something.
create index on ops.run_steps (run_id, position) where error <> '';
create index on ops.run_steps (run_id, position) where output_tree is not null;
call ops.wall('run_events');
call ops.append_only('run_events');

-- All that one transaction has to tell, at one go: a list of {type, payload}.
create function ops.add_run_events(p_run text, p_at timestamptz, p_events jsonb) returns bigint
language plpgsql set search_path = ops, pg_temp as $$
declare n bigint; o text := ops.org();
begin
  perform pg_advisory_xact_lock(hashtextextended('run-events:' || p_run, 0));
  select coalesce(max(e.seq), 0) + 1 into n from ops.run_events e where e.org_id = o and e.run_id = p_run;
  insert into ops.run_events (org_id, run_id, seq, at, type, payload)
    select o, p_run, n + x.i - 1, p_at, x.e ->> 'type', x.e -> 'payload'
      from jsonb_array_elements(p_events) with ordinality as x (e, i);
  n := n + jsonb_array_length(p_events) - 1;
  perform pg_notify('run_events', o || ' ' || p_run || ' ' || n);
  return n;
end $$;
reset role;
