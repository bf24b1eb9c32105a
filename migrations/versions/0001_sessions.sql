-- Notebooks and shells: a server in a jail, on the files of a branch. The row says how it stands, whatever becomes of the
-- process that runs it. Tokens are bound to one session; they end with it.
set role bos_owner;

create table ops.sessions (
  id text primary key,
  org_id text not null references ops.orgs,
  project_id text references ops.projects,
  repo_id text not null references ops.repositories,
  branch_id text not null references ops.branches,
  repo_name text not null,
  branch text not null,
  kind text not null check (kind in ('notebook', 'shell')),
  editor text not null check (editor in ('jupyter', 'marimo')),
  runtime text not null,
  profile text not null,
  status text not null check (status in ('starting', 'running', 'idle', 'stopping', 'stopped', 'failed', 'timed_out')),
  reason text,
  detail text not null default '',
  idle_timeout int not null check (idle_timeout > 0),
  starts int not null default 1,           -- how often it was started
  machine text not null,                   -- that runs it
  url text,
  base_tree text,                          -- what the branch was known to hold of its files at the last checkpoint
  checkpoint jsonb,                        -- what the last one kept
  logs_ref text not null,
  sandbox_run_id text,
  usage jsonb,
  calls jsonb not null default '{}',       -- endpoints and models that it may call, by name
  actor jsonb not null,                    -- on whose behalf it runs
  created_by text not null,
  created_at timestamptz not null,
  started_at timestamptz,
  last_active_at timestamptz,
  ended_at timestamptz
);
create index on ops.sessions (org_id, id);
create index on ops.sessions (org_id, branch_id, id);
create index on ops.sessions (org_id, id) where ended_at is null;

create table ops.session_tokens (
  id text primary key,
  org_id text not null references ops.orgs,
  session_id text not null references ops.sessions on delete cascade,
  hash bytea not null unique,
  kind text not null check (kind in ('link', 'cookie')),
  actor jsonb not null,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  used_at timestamptz                      -- of a link that a browser has followed
);
create index on ops.session_tokens (org_id, session_id);
call ops.wall('sessions', 'session_tokens');
revoke delete on ops.sessions from bos_app;
reset role;

grant create on schema ops to bos_definer;
set role bos_definer;
-- Whose a token is, before any organisation is known.
create function ops.session_token(p_hash bytea) returns table (
  org_id text, id text, session_id text, kind text, actor jsonb, expires_at timestamptz, used_at timestamptz)
language plpgsql stable security definer set search_path = ops, pg_temp as $$
begin
  return query
  select t.org_id, t.id, t.session_id, t.kind, t.actor, t.expires_at, t.used_at
    from ops.session_tokens t join ops.orgs o on o.id = t.org_id and o.erased_at is null where t.hash = p_hash;
end $$;

-- What a machine had running when it stopped: organisation and session.
create function ops.sessions_of_machine(p_machine text) returns table (org_id text, session_id text)
language plpgsql stable security definer set search_path = ops, pg_temp as $$
begin
  perform ops.ensure_server();
  return query
  select s.org_id, s.id from ops.sessions s join ops.orgs o on o.id = s.org_id and o.erased_at is null
   where s.machine = p_machine and s.ended_at is null;
end $$;
reset role;
revoke create on schema ops from bos_definer;
revoke execute on function ops.session_token, ops.sessions_of_machine from public;
grant execute on function ops.session_token, ops.sessions_of_machine to bos_app;
