-- Models that answer: addresses, the processes behind them, and how they did.
set role bos_owner;
-- `traffic` says which deployments get which share of the calls.
create table ops.endpoints (
  id text primary key,
  org_id text not null references ops.orgs,
  name text collate "C" not null,
  env text not null check (env in ('dev', 'stage', 'prod')),
  policy jsonb not null,                   -- who may call, how often
  runtime text not null,
  profile text not null,
  state text not null check (state in ('active', 'stopped')),
  traffic jsonb not null,                  -- deployment → share in percent
  before jsonb,                            -- the traffic that a rollback brings back
  shadow text,                             -- the deployment that is asked likewise, and never heard
  numbers int not null default 0,
  machine text not null,                   -- that serves it
  created_by text not null,
  created_at timestamptz not null,
  updated_at timestamptz not null
);
create index on ops.endpoints (org_id, id desc);
create unique index on ops.endpoints (org_id, name) where state = 'active';

create table ops.model_deployments (
  id text primary key,
  org_id text not null references ops.orgs,
  endpoint_id text not null references ops.endpoints,
  number int not null,
  version_id text not null references ops.model_versions,
  status text not null check (status in ('starting', 'ready', 'failed', 'stopped')),
  detail text not null default '',
  created_by text not null,
  actor jsonb not null,                    -- for whom its process runs
  starts int not null default 1,           -- of its process, so far
  drift jsonb,                             -- how far what it is asked has moved from what it was made for
  created_at timestamptz not null,
  ready_at timestamptz,
  ended_at timestamptz,
  unique (endpoint_id, number)
);
create index on ops.model_deployments (org_id, endpoint_id, number desc);

-- What was answered, a row per minute and deployment: how many, how many errors, and how long in buckets.
create table ops.endpoint_calls (
  org_id text not null references ops.orgs,
  endpoint_id text not null,
  deployment_id text not null,
  minute timestamptz not null,
  calls bigint not null,
  errors bigint not null,                  -- of the model's making: 5xx
  refused bigint not null,                 -- what did not fit its form: 4xx
  compared bigint not null default 0,      -- answers of a shadow held against what the caller got
  differed bigint not null default 0,
  buckets bigint[] not null,
  primary key (org_id, deployment_id, minute)
);
create index on ops.endpoint_calls (org_id, endpoint_id, minute);
-- A table that a model scores, in chunks.
create table ops.scoring_jobs (
  id text primary key,
  org_id text not null references ops.orgs,
  version_id text not null references ops.model_versions,
  model text not null,                     -- name@version, as it was asked for
  dataset_id text not null,
  dataset text not null,                   -- name@version
  file text not null,                      -- of the dataset
  spec jsonb not null,                     -- format, chunk_rows, columns, carry, register_as
  run_id text not null,                    -- the run that carries it out now
  repo_id text,
  status text not null check (status in ('scheduled', 'running', 'finished', 'failed', 'cancelled')),
  rows_total bigint,                       -- where the dataset says it
  rows_done bigint not null default 0,
  chunks_done int not null default 0,
  artifact_id text,
  result text,                             -- the dataset that the result became: name@version
  error jsonb,                             -- message, row, column
  created_by text not null,
  created_at timestamptz not null,
  started_at timestamptz,
  ended_at timestamptz
);
create index on ops.scoring_jobs (org_id, id desc);
create index on ops.scoring_jobs (org_id, run_id);
call ops.wall('endpoints', 'model_deployments', 'endpoint_calls', 'scoring_jobs');
revoke delete on ops.endpoints, ops.model_deployments, ops.endpoint_calls, ops.scoring_jobs from bos_app;
reset role;

grant create on schema ops to bos_definer;
set role bos_definer;
-- Endpoints that a machine has to serve: organisation and endpoint.
create function ops.endpoints_to_serve(p_machine text) returns table (org_id text, endpoint_id text)
language plpgsql stable security definer set search_path = ops, pg_temp as $$
begin
  perform ops.ensure_server();
  return query
  select e.org_id, e.id from ops.endpoints e join ops.orgs o on o.id = e.org_id and o.erased_at is null
   where e.machine = p_machine and e.state = 'active';
end $$;
reset role;
revoke create on schema ops from bos_definer;
revoke execute on function ops.endpoints_to_serve from public;
grant execute on function ops.endpoints_to_serve to bos_app;
