-- Members of an organisation. What tells who a person is stands apart and can be erased; the ledger names the id alone.
set role bos_owner;

create table ops.members (
  id text primary key,                     -- usr_… a person, sva_… a service account
  org_id text not null references ops.orgs,
  role text not null check (role in ('org_owner', 'admin', 'builder', 'reviewer', 'viewer')),
  label text not null,                     -- a pseudonym, or the name of a service account
  created_by text not null,
  created_at timestamptz not null,
  removed_at timestamptz
);
create index on ops.members (org_id, id);

create table ops.people (
  member_id text primary key references ops.members,
  org_id text not null references ops.orgs,
  email text not null,                     -- lower case
  name text not null default ''
);
create unique index on ops.people (org_id, email);

-- Where a person's id at a provider is known: who signed in there once is found by it, whatever the address says later.
create table ops.identities (
  org_id text not null references ops.orgs,
  issuer text not null,
  subject text not null,
  member_id text not null references ops.members,
  primary key (org_id, issuer, subject)
);
create index on ops.identities (member_id);

create table ops.invites (
  id text primary key,
  org_id text not null references ops.orgs,
  credential_id text not null references ops.credentials,
  email text,                              -- null once it is over
  role text not null check (role in ('org_owner', 'admin', 'builder', 'reviewer', 'viewer')),
  created_by text not null,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  accepted_at timestamptz,
  revoked_at timestamptz,
  member_id text references ops.members
);
create index on ops.invites (org_id, id);

create table ops.member_sessions (
  id text primary key,
  org_id text not null references ops.orgs,
  member_id text not null references ops.members,
  method text not null check (method in ('invite', 'link', 'oidc', 'code', 'device', 'open')),
  created_at timestamptz not null,
  used_at timestamptz not null,
  expires_at timestamptz not null,
  ended_at timestamptz,
  ended_why text,
  client_id text,                          -- of OAuth: the program that acts in the member's name
  scopes text[],                           -- what the member let it do; null: all that the role may
  audience text not null default ''        -- the part of this server that its tokens are for, e.g. /mcp; empty: all of it
);
create index on ops.member_sessions (org_id, id);
create index on ops.member_sessions (client_id);
create index on ops.member_sessions (member_id, id);

create table ops.refresh_tokens (
  hash bytea primary key,
  org_id text not null references ops.orgs,
  session_id text not null references ops.member_sessions,
  created_at timestamptz not null,
  used_at timestamptz                      -- rotated: a second use ends the session
);
create index on ops.refresh_tokens (org_id, session_id);

-- A sign-in on its way: a link that was mailed, a browser that was sent to a provider, or a code for any browser.
create table ops.sign_ins (
  hash bytea primary key,                  -- of the link's secret, or of the state
  org_id text not null references ops.orgs,
  kind text not null check (kind in ('link', 'oidc', 'open')),
  browser bytea not null,                  -- hash of the nonce in the browser's cookie
  member_id text references ops.members,
  sealed bytea,                            -- of OIDC: code verifier and nonce, encrypted
  created_at timestamptz not null,
  expires_at timestamptz not null,
  used_at timestamptz
);
create index on ops.sign_ins (org_id, expires_at);
create index on ops.sign_ins (member_id, created_at);

alter table ops.credentials
  add column made_by text,                  -- the member, or the local owner, who made it, for whomever
  add column suspended_at timestamptz,                -- stopped by the server itself; an admin lifts it
  add column member_id text references ops.members,   -- on whose behalf it acts: it ends with the membership
  add column session_id text references ops.member_sessions,
  drop constraint credentials_kind_check,
  add constraint credentials_kind_check check (kind in
    ('reuse_token', 'owner', 'api_key', 'share', 'personal', 'service', 'access', 'cookie', 'invite', 'workload'));
create index on ops.credentials (member_id);
create index on ops.credentials (session_id);

alter table ops.grants add foreign key (member_id) references ops.members;

call ops.wall('members', 'people', 'identities', 'invites', 'member_sessions', 'refresh_tokens', 'sign_ins');
revoke delete on ops.members, ops.invites, ops.member_sessions from bos_app;
reset role;

grant create on schema ops to bos_definer;
set role bos_definer;
-- A function of its own, so that the credentials that have no grants pay nothing for them.
create function ops.grants_held(p_member text) returns jsonb language plpgsql stable set search_path = ops, pg_temp as $$
begin
  return (select jsonb_agg(jsonb_build_array(g.id, g.place_id, g.environment, g.role)) from ops.grants g where g.member_id = p_member);
end $$;

-- All that a credential proves, in one indexed look: of a member the roles as they are at this moment. Of an
-- organisation that is closing only what owners sign in with is still good.
create function ops.credential(h bytea)
returns table (id text, org_id text, kind text, actor_id text, actor_name text, profile text, scopes text[], repo_id text,
  sandbox_id text, branch text, sandbox_state text, expires_at timestamptz, revoked_at timestamptz, sandbox_expires_at timestamptz,
  last_active_at timestamptz, member_id text, member_role text, audience text, closing boolean, grants jsonb,
  session_id text, opened_by text)
language sql stable security definer set search_path = ops, pg_temp as $$
  select c.id, c.org_id, c.kind, c.actor_id, c.actor_name, c.profile, c.scopes, c.repo_id, c.sandbox_id, s.name, s.state,
         c.expires_at, coalesce(c.revoked_at, c.suspended_at, m.removed_at, t.ended_at,
           case when c.kind not in ('personal', 'access', 'cookie') or m.role <> 'org_owner' then o.closing_at end),
         s.expires_at, s.last_active_at, c.member_id, m.role,
         -- What an app or a session is given is good at the door of jails alone.
         case when c.kind = 'workload' then '/jail' else coalesce(t.audience, '') end, o.closing_at is not null,
         case when c.kind in ('personal', 'service', 'access', 'cookie') then ops.grants_held(m.id) end,
         c.session_id, case when c.kind = 'reuse_token' then c.made_by end
  from ops.credentials c
  join ops.orgs o on o.id = c.org_id
  left join ops.sandboxes s on s.id = c.sandbox_id
  left join ops.members m on m.id = c.member_id
  left join ops.member_sessions t on t.id = c.session_id
  where c.hash = h
$$;

-- The organisation of a refresh token, or of a sign-in on its way.
create function ops.org_of_secret(h bytea) returns text
language sql stable security definer set search_path = ops, pg_temp as $$
  select org_id from ops.refresh_tokens where hash = h
  union all
  select org_id from ops.sign_ins where hash = h
$$;
reset role;
revoke create on schema ops from bos_definer;
revoke execute on function ops.credential, ops.org_of_secret, ops.grants_held from public;
grant execute on function ops.credential, ops.org_of_secret to bos_app;
