-- Analytical apps: what they are made of, their releases, and the ways in. Rows say what is live; processes follow.
set role bos_owner;

create table ops.apps (
  id text primary key,
  org_id text not null references ops.orgs,
  name text collate "C" not null,
  type text not null check (type in ('streamlit', 'flask', 'nextjs', 'static', 'custom')),
  repo_id text not null references ops.repositories,
  repo_name text not null,
  spec jsonb not null,                     -- how the next release is built, started and looked at
  policy jsonb not null,                   -- who may open it
  idle_timeout int not null,               -- seconds; 0: it never sleeps
  state text not null check (state in ('active', 'stopped', 'deleted')),
  asleep boolean not null default false,   -- nothing runs, for nobody has asked for a while
  current_id text,                         -- the release that is live
  numbers int not null default 0,
  machine text not null,                   -- that serves it
  created_by text not null,
  created_at timestamptz not null,
  updated_at timestamptz not null
);
create index on ops.apps (org_id, id desc);
create unique index on ops.apps (org_id, name) where state <> 'deleted';

create table ops.app_releases (
  id text primary key,
  org_id text not null references ops.orgs,
  app_id text not null references ops.apps,
  number int not null,
  branch_id text not null references ops.branches,
  branch text not null,
  commit_sha text not null,
  tree text not null,
  spec jsonb not null,                     -- as it was when this was released
  status text not null
    check (status in ('building', 'starting', 'live', 'failed', 'superseded', 'rolled_back', 'stopped')),
  reason text,
  detail text not null default '',
  starts int not null default 0,           -- of its process, so far
  crashes int not null default 0,
  replaces text,                           -- the release that was live before
  created_by text not null,
  actor jsonb not null,
  created_at timestamptz not null,
  live_at timestamptz,
  ended_at timestamptz,
  unique (app_id, number)
);
create index on ops.app_releases (org_id, app_id, number desc);

create table ops.app_tokens (
  id text primary key,
  org_id text not null references ops.orgs,
  app_id text not null references ops.apps on delete cascade,
  hash bytea not null unique,
  kind text not null check (kind in ('link', 'cookie')),
  actor jsonb not null,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  used_at timestamptz                      -- of a link that a browser has followed
);
create index on ops.app_tokens (org_id, app_id);
call ops.wall('apps', 'app_releases', 'app_tokens');
revoke delete on ops.apps, ops.app_releases from bos_app;
reset role;

grant create on schema ops to bos_definer;
set role bos_definer;
-- Whose a token is, before any organisation is known.
create function ops.app_token(p_hash bytea) returns table (
  org_id text, id text, app_id text, kind text, actor jsonb, expires_at timestamptz, used_at timestamptz)
language plpgsql stable security definer set search_path = ops, pg_temp as $$
begin
  return query
  select t.org_id, t.id, t.app_id, t.kind, t.actor, t.expires_at, t.used_at
    from ops.app_tokens t join ops.orgs o on o.id = t.org_id and o.erased_at is null where t.hash = p_hash;
end $$;

-- What the door has to know of an app before anybody has shown anything: whose it is, and whether it is open to all.
create function ops.app_at_door(p_id text) returns table (org_id text, open_to_all boolean)
language plpgsql stable security definer set search_path = ops, pg_temp as $$
begin
  return query
  select a.org_id, a.policy ->> 'open' = 'public'
    from ops.apps a join ops.orgs o on o.id = a.org_id and o.erased_at is null
   where a.id = p_id and a.state = 'active';
end $$;

-- Apps that a machine has to serve: organisation and app.
create function ops.apps_to_serve(p_machine text) returns table (org_id text, app_id text)
language plpgsql stable security definer set search_path = ops, pg_temp as $$
begin
  perform ops.ensure_server();
  return query
  select a.org_id, a.id from ops.apps a join ops.orgs o on o.id = a.org_id and o.erased_at is null
   where a.machine = p_machine and a.state = 'active';
end $$;
reset role;
revoke create on schema ops from bos_definer;
revoke execute on function ops.app_token, ops.app_at_door, ops.apps_to_serve from public;
grant execute on function ops.app_token, ops.app_at_door, ops.apps_to_serve to bos_app;
