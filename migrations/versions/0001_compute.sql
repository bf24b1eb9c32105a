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
reset role;
