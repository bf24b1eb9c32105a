-- Where each step of a run was executed, how it ended and what it used: one row per attempt.
set role bos_owner;

create table ops.sandbox_runs (
  id text primary key,
  org_id text not null references ops.orgs,
  name text not null,                      -- run.step.attempt: whoever comes again finds this row
  run_id text not null,
  step_id text not null,
  attempt int not null check (attempt > 0),
  repo_id text references ops.repositories,
  budget_repo_id text,                     -- the project whose budgets it counts against
  memory bigint not null default 0,        -- bytes that it holds while it runs
  gpu int not null default 0,
  counted_cpu_s double precision not null default 0,  -- what of it is in the project's usage
  counted_wall_s double precision not null default 0,
  provider text not null,
  sandbox_id text not null,                -- what the provider calls it
  place text not null,                     -- the machine and state folder that it was started from
  runtime text not null,
  runtime_digest text not null,            -- of the image, or of this machine's system
  profile text not null,
  tier text check (tier in ('strong', 'weak', 'remote')),
  status text not null check (status in ('queued', 'running', 'success', 'failed', 'timeout')),
  reason text check (reason in ('exit', 'timeout', 'oom', 'disk', 'killed', 'lost', 'budget')),
  exit_code int,
  detail text not null default '',
  logs_ref text,
  preview_url text,
  truncated boolean not null default false,
  cpu_s double precision not null default 0,
  wall_s double precision not null default 0,
  memory_peak bigint not null default 0,
  io_read bigint not null default 0,
  io_written bigint not null default 0,
  output_bytes bigint not null default 0,
  network_sent bigint not null default 0,
  network_received bigint not null default 0,
  price double precision not null default 0,
  hosts jsonb not null default '[]',       -- that the policy granted
  secrets jsonb not null default '[]',     -- their names
  egress jsonb not null default '[]',
  policy_events jsonb not null default '[]',
  created_by text not null,
  started_at timestamptz not null,
  finished_at timestamptz,
  unique (org_id, name),
  check ((finished_at is null) = (status in ('queued', 'running')))
);
create index on ops.sandbox_runs (org_id, run_id);
create index on ops.sandbox_runs (org_id, provider, id);
call ops.wall('sandbox_runs');

-- Add to its project's usage what an execution used since it was looked at last: in all so many seconds of processor and of
-- time by now.
create function ops.count_execution(p_id text, p_cpu_s double precision, p_wall_s double precision, p_day date)
returns void language plpgsql set search_path = ops, pg_temp as $$
declare
  r record;
begin
  select x.budget_repo_id, x.memory, x.gpu, greatest(0, p_cpu_s - x.counted_cpu_s) as cpu_s,
         greatest(0, p_wall_s - x.counted_wall_s) as wall_s
    into r from ops.sandbox_runs x where x.org_id = ops.org() and x.id = p_id and x.budget_repo_id is not null for update;
  if not found then
    return;
  end if;
  insert into ops.project_usage as u (org_id, repo_id, day, cpu_s, memory_s, gpu_s)
    values (ops.org(), r.budget_repo_id, p_day, r.cpu_s, r.wall_s * r.memory / 1073741824.0, r.wall_s * r.gpu)
    on conflict (org_id, repo_id, day) do update
       set cpu_s = u.cpu_s + excluded.cpu_s, memory_s = u.memory_s + excluded.memory_s, gpu_s = u.gpu_s + excluded.gpu_s;
  update ops.sandbox_runs x
     set counted_cpu_s = x.counted_cpu_s + r.cpu_s, counted_wall_s = x.counted_wall_s + r.wall_s
   where x.org_id = ops.org() and x.id = p_id;
end $$;
reset role;
