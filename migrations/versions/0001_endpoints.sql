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
  scaling jsonb not null,                  -- how many processes each deployment has, at least and at most, and when more
  payloads jsonb not null,                 -- which share of the calls is kept, how much of each, how long
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
  starts int not null default 1,           -- of its processes, so far
  replicas int not null default 1,         -- processes that it is to have at this moment
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
-- What some calls were asked and answered, without the secrets that are known, cut to a length; for a while.
create table ops.endpoint_payloads (
  id text primary key,
  org_id text not null references ops.orgs,
  endpoint_id text not null references ops.endpoints,
  deployment_id text not null,
  at timestamptz not null,
  expires_at timestamptz not null,
  actor text not null,
  request_id text not null,
  status int not null,
  ms double precision not null,
  input text not null,
  output text not null,
  cut boolean not null
);
create index on ops.endpoint_payloads (org_id, endpoint_id, id desc);
create index on ops.endpoint_payloads (expires_at);

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
call ops.wall('endpoints', 'model_deployments', 'endpoint_calls', 'endpoint_payloads', 'scoring_jobs');
revoke delete on ops.endpoints, ops.model_deployments, ops.endpoint_calls, ops.scoring_jobs from bos_app;
revoke update, delete on ops.endpoint_payloads from bos_app;

-- What a credential stands for at this moment, as one text that changes with any of it; nothing where it is over.
create function ops.credential_stands(p_hash bytea) returns text language sql volatile set search_path = ops, pg_temp as $$
  select c::text from ops.credential(p_hash) c
   where c.revoked_at is null and coalesce(least(c.expires_at, c.sandbox_expires_at), 'infinity') > clock_timestamp()
$$;

-- Calls of one endpoint by one credential, let in as those before them were: the accesses of all of them; an error where
-- credential or endpoint stand otherwise by now.
create function ops.note_calls(p_hash bytea, p_stood text, p_endpoint text, p_changed timestamptz, p_at timestamptz, p_actor text,
  p_name text, p_role text, p_door text, p_tool text, p_requests text[]) returns void
language plpgsql set search_path = ops, pg_temp as $$
begin
  if p_stood is distinct from ops.credential_stands(p_hash)
     or not exists (select from ops.endpoints e where e.id = p_endpoint and e.updated_at = p_changed) then
    raise exception 'who calls, or what is called, stands otherwise by now' using errcode = 'BO409';
  end if;
  insert into ops.accesses (org_id, at, actor, actor_name, role, door, request_id, tool, action, object)
    select ops.org(), p_at, p_actor, p_name, p_role, p_door, r, p_tool, 'endpoint.invoke', p_endpoint
      from unnest(p_requests) r;
end $$;
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
-- Take away what is kept of calls whose time is over; how many rows that were.
create function ops.forget_payloads() returns bigint language plpgsql security definer set search_path = ops, pg_temp as $$
declare n bigint;
begin
  perform ops.ensure_server();
  delete from ops.endpoint_payloads p where p.expires_at < clock_timestamp()
    and not exists (select from ops.holds h where h.org_id = p.org_id and h.released_at is null);
  get diagnostics n = row_count;
  return n;
end $$;
reset role;
revoke create on schema ops from bos_definer;
revoke execute on function ops.endpoints_to_serve, ops.forget_payloads from public;
grant execute on function ops.endpoints_to_serve, ops.forget_payloads to bos_app;
