-- Programs that act in the name of a member (OAuth 2.1), and providers at which the members of one organisation sign in.
set role bos_owner;

create table ops.oauth_clients (
  id text primary key,
  org_id text references ops.orgs,         -- null: registered itself (RFC 7591), whoever uses it may belong anywhere
  name text not null,
  secret_hash bytea,                       -- null: a public client, which proves itself by PKCE alone
  redirect_uris text[] not null,
  created_by text,
  created_at timestamptz not null,
  removed_at timestamptz
);
create index on ops.oauth_clients (org_id, id);
create index on ops.oauth_clients (created_at) where org_id is null;

create table ops.oauth_codes (
  hash bytea primary key,
  org_id text not null references ops.orgs,
  client_id text not null,
  member_id text not null references ops.members,
  redirect_uri text not null,
  challenge text,                          -- PKCE, S256; null for a client with a secret that sent none
  scopes text[] not null,
  audience text not null,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  session_id text references ops.member_sessions  -- what it gave: a second use ends that
);
create index on ops.oauth_codes (org_id, expires_at);
create index on ops.oauth_codes (client_id);
create index on ops.oauth_codes (member_id);
create index on ops.oauth_codes (session_id);

create table ops.device_codes (
  hash bytea primary key,                  -- of what the program holds
  user_code bytea not null unique,         -- hash of what the person types
  org_id text references ops.orgs,         -- null until a member decides
  client_id text not null,
  scopes text[] not null,
  audience text not null,
  state text not null check (state in ('pending', 'approved', 'denied', 'used')),
  member_id text references ops.members,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  polled_at timestamptz
);
create index on ops.device_codes (expires_at);
create index on ops.device_codes (org_id, expires_at);
create index on ops.device_codes (member_id);

create table ops.identity_providers (
  id text primary key,
  org_id text not null references ops.orgs,
  label text not null,
  issuer text not null,
  client_id text not null,
  sealed bytea,                            -- the client secret, encrypted
  domains text[] not null,                 -- of addresses that count; empty: all that the provider verified
  join_role text check (join_role in ('builder', 'reviewer', 'viewer')),
  listed boolean not null,
  created_by text not null,
  created_at timestamptz not null,
  removed_at timestamptz
);
create index on ops.identity_providers (org_id, id);
create index on ops.identity_providers (id) where listed;

create index on ops.credentials (org_id, expires_at) where kind in ('access', 'workload');
alter table ops.sign_ins add column provider_id text references ops.identity_providers;  -- null: the server's own

call ops.wall('oauth_clients', 'oauth_codes', 'device_codes', 'identity_providers');
revoke delete on ops.oauth_clients, ops.identity_providers from bos_app;
grant insert, update, delete on ops.oauth_clients, ops.device_codes to bos_definer;
grant execute on function ops.org to bos_definer;
reset role;

grant create on schema ops to bos_definer;
set role bos_definer;

-- Before an organisation is known only these functions answer.
create function ops.oauth_client(i text)
returns table (id text, org_id text, name text, secret_hash bytea, redirect_uris text[])
language sql stable security definer set search_path = ops, pg_temp as $$
  select id, org_id, name, secret_hash, redirect_uris from ops.oauth_clients where id = i and removed_at is null
$$;

create function ops.register_oauth_client(i text, n text, s bytea, r text[], at timestamptz) returns void
language sql security definer set search_path = ops, pg_temp as $$
  insert into ops.oauth_clients (id, name, secret_hash, redirect_uris, created_at) values (i, n, s, r, at)
$$;

create function ops.begin_device(h bytea, u bytea, c text, s text[], a text, at timestamptz, until timestamptz) returns void
language sql security definer set search_path = ops, pg_temp as $$
  insert into ops.device_codes (hash, user_code, client_id, scopes, audience, state, created_at, expires_at)
  values (h, u, c, s, a, 'pending', at, until)
$$;

create function ops.device_to_decide(u bytea, at timestamptz) returns table (client_id text, scopes text[], audience text)
language sql stable security definer set search_path = ops, pg_temp as $$
  select client_id, scopes, audience from ops.device_codes
  where user_code = u and state = 'pending' and org_id is null and expires_at > at
$$;

-- Gives a waiting device to the organisation of the transaction: its own rows alone can be decided there.
create function ops.claim_device(u bytea, at timestamptz) returns setof bytea
language sql security definer set search_path = ops, pg_temp as $$
  update ops.device_codes set org_id = ops.org()
  where user_code = u and state = 'pending' and org_id is null and expires_at > at
  returning hash
$$;

-- What became of a device, and whether the program asks sooner than `gap` after the last time.
create function ops.poll_device(h bytea, at timestamptz, gap interval)
returns table (org_id text, client_id text, state text, expires_at timestamptz, too_soon boolean)
language plpgsql security definer set search_path = ops, pg_temp as $$
declare d ops.device_codes;
begin
  select * into d from ops.device_codes where hash = h for update;
  if not found then return; end if;
  update ops.device_codes set polled_at = at where hash = h;
  return query select d.org_id, d.client_id, d.state, d.expires_at, coalesce(d.polled_at > at - gap, false);
end $$;

-- Forgets devices that are over, and programs that registered themselves and were never let in.
create function ops.sweep_oauth(at timestamptz) returns void
language sql security definer set search_path = ops, pg_temp as $$
  delete from ops.device_codes where expires_at < at - interval '1 hour';
  delete from ops.oauth_clients c where c.org_id is null and c.created_at < at - interval '1 day'
    and not exists (select from ops.member_sessions s where s.client_id = c.id)
    and not exists (select from ops.oauth_codes o where o.client_id = c.id)
    and not exists (select from ops.device_codes d where d.client_id = c.id)
$$;

create function ops.org_of_provider(i text) returns text
language sql stable security definer set search_path = ops, pg_temp as $$
  select org_id from ops.identity_providers where id = i and removed_at is null
$$;

create function ops.listed_providers() returns table (id text, label text)
language sql stable security definer set search_path = ops, pg_temp as $$
  select id, label from ops.identity_providers where listed and removed_at is null order by label, id limit 50
$$;

create or replace function ops.org_of_secret(h bytea) returns text
language sql stable security definer set search_path = ops, pg_temp as $$
  select org_id from ops.refresh_tokens where hash = h
  union all
  select org_id from ops.sign_ins where hash = h
  union all
  select org_id from ops.oauth_codes where hash = h
$$;
reset role;
revoke create on schema ops from bos_definer;
revoke execute on function ops.oauth_client, ops.register_oauth_client, ops.begin_device, ops.device_to_decide,
  ops.claim_device, ops.poll_device, ops.sweep_oauth, ops.org_of_provider, ops.listed_providers from public;
grant execute on function ops.oauth_client, ops.register_oauth_client, ops.begin_device, ops.device_to_decide,
  ops.claim_device, ops.poll_device, ops.sweep_oauth, ops.org_of_provider, ops.listed_providers to bos_app;
