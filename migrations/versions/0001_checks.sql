-- Checks of delivery tasks: which commits that name a task were looked at, by which run, and what came of it.
set role bos_owner;
create table ops.task_checks (
  org_id text not null references ops.orgs,
  branch_id text not null references ops.branches,
  commit_sha text not null,
  task_id text not null,
  name text not null,                      -- of the check, as the task had it in that commit
  run_id text,                             -- null: it could not be started
  state text not null check (state in ('running', 'passed', 'failed', 'undecided')),
  reverted_by text,                        -- the commit that took it back
  detail text not null default '',
  created_at timestamptz not null,
  decided_at timestamptz,
  primary key (org_id, branch_id, commit_sha)
);
create index on ops.task_checks (org_id, run_id);
create table ops.check_cursors (
  org_id text primary key references ops.orgs,
  seq bigint not null                      -- the last line of the ledger that was looked at
);
call ops.wall('task_checks', 'check_cursors');
revoke delete on ops.task_checks from bos_app;
reset role;

grant create on schema ops to bos_definer;
set role bos_definer;
-- Organisations whose ledger has lines that were not looked at.
create function ops.check_orgs() returns setof text
language plpgsql stable security definer set search_path = ops, pg_temp as $$
begin
  perform ops.ensure_server();
  return query
  select h.org_id from ops.ledger_head h join ops.orgs o on o.id = h.org_id and o.erased_at is null
    left join ops.check_cursors c on c.org_id = h.org_id
   where h.seq > coalesce(c.seq, 0);
end $$;
reset role;
revoke create on schema ops from bos_definer;
revoke execute on function ops.check_orgs from public;
grant execute on function ops.check_orgs to bos_app;
