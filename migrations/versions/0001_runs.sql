-- Runs and their steps: the record and the state in one. The engine only carries steps out; what is to be done next is
-- worked out from these rows, in the transaction in which a step ends.
set role bos_owner;
create table ops.runs (
  id text primary key,
  org_id text not null references ops.orgs,
  project_id text references ops.projects,
  repo_id text references ops.repositories,
  branch_id text references ops.branches,
  repo_name text not null default '',
  branch text not null default '',
  pipeline text not null,
  version text not null,
  kind text not null,
  status text not null check (status in ('queued', 'running', 'waiting_approval', 'waiting_input', 'paused',
    'succeeded', 'failed', 'denied', 'cancelled', 'timed_out')),
  reason text,                             -- what decided how it ends; set before the last step has ended
  detail text not null default '',
  params jsonb not null,
  definition jsonb not null,
  definition_digest text not null,
  input_fingerprint text not null,
  trigger jsonb not null,
  actor jsonb not null,                    -- who acts in it, as the credential proved it when it was started
  actor_id text not null,
  priority int not null,
  lanes text not null,
  base_sha text,
  base_tree text,
  open_steps int not null check (open_steps >= 0),
  paused boolean not null default false,
  rollback boolean not null default false, -- what its steps did is taken back before it ends
  group_name text,
  held boolean not null default false,     -- it waits until its group has room
  parent_step_id text,
  rerun_of text,
  traceparent text not null default '',
  commits text[] not null default '{}',
  approvals text[] not null default '{}',
  preview_url text,                        -- where the last preview that it deployed is looked at
  policy_digest text not null default '',
  created_at timestamptz not null,
  started_at timestamptz,
  ended_at timestamptz,
  deadline_at timestamptz not null
);
create index on ops.runs (org_id, id);
create index on ops.runs (org_id, branch_id, id);
create index on ops.runs (org_id, pipeline, id);
create index on ops.runs (deadline_at) where ended_at is null;
create index on ops.runs (org_id, group_name) where ended_at is null and group_name is not null;
create index on ops.runs (parent_step_id) where parent_step_id is not null;

create table ops.run_steps (
  id text primary key,
  org_id text not null references ops.orgs,
  run_id text not null references ops.runs,
  name text not null,                      -- of the node, unique in its run
  position int not null,
  action text not null,
  lane text not null,
  agent_id text,
  spec jsonb not null,                     -- the node, as the definition was unfolded
  needs text[] not null,
  needed_by text[] not null,
  waiting_for int not null,                -- needs that have not ended
  status text not null check (status in ('pending', 'running', 'retrying', 'waiting_approval', 'waiting_input',
    'succeeded', 'cached', 'failed', 'skipped', 'denied', 'cancelled', 'timed_out')),
  reason text,
  error text not null default '',
  attempt int not null default 0,
  tries int not null default 0,            -- attempts that count against its retries: lost ones do not
  turn int not null default 0,             -- names the task that carries it out: each time it is started, another one
  claim text,                              -- whose attempt it is: who lost the step to another process writes nothing
  ready_at timestamptz,                    -- since when it could run
  next_at timestamptz,                     -- when it is tried again, or its waiting is over
  started_at timestamptz,
  ended_at timestamptz,
  input_tree text,
  output_tree text,
  result jsonb not null default '{}',
  exit_code int,
  usage jsonb not null default '{}',
  tier text,
  sandbox_run_id text,
  approval_id text,
  waiting jsonb,                           -- for whom and what it waits
  undone boolean not null default false,
  child_run_id text,
  commit_sha text,
  cache_key text,
  logs_ref text,
  artifacts_ref text[] not null default '{}',
  policy_events jsonb not null default '[]',
  unique (run_id, name)
);
create index on ops.run_steps (run_id, position);
create index on ops.run_steps (run_id) where ready_at is not null and ended_at is null;
create index on ops.run_steps (org_id, next_at) where ready_at is not null and ended_at is null;
create index on ops.run_steps (approval_id) where approval_id is not null;
create index on ops.run_steps (org_id, (waiting ->> 'id') desc) where status = 'waiting_input';
call ops.wall('runs', 'run_steps');

-- Steps of a run that wait for so many needs less from now on.
create function ops.free_steps(p_run text, p_names text[], p_counts int[]) returns setof ops.run_steps
language sql set search_path = ops, pg_temp as $$
  update ops.run_steps s set waiting_for = s.waiting_for - x.n
    from unnest(p_names, p_counts) as x (name, n)
   where s.run_id = p_run and s.name = x.name and s.ended_at is null returning s.*
$$;

-- What the steps of a run came to, in their order: as many as a line of the ledger holds.
create function ops.step_ends(p_run text)
returns table (name text, id text, status text, reason text, output_tree text, commit_sha text)
language sql stable set search_path = ops, pg_temp as $$
  select s.name, s.id, s.status, s.reason, s.output_tree, s.commit_sha
    from ops.run_steps s where s.run_id = p_run order by s.position limit 500
$$;
reset role;

grant create on schema ops to bos_definer;
set role bos_definer;
-- Organisations with steps that could run, or runs that are not over: for whoever looks after what was never started.
create function ops.orgs_with_runs() returns setof text
language plpgsql stable security definer set search_path = ops, pg_temp as $$
begin
  perform ops.ensure_server();
  return query select distinct org_id from ops.runs where ended_at is null;
end $$;
reset role;
revoke create on schema ops from bos_definer;
revoke execute on function ops.orgs_with_runs from public;
grant execute on function ops.orgs_with_runs to bos_app;
