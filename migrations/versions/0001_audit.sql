-- Who read what; what may be forgotten and what is held; where the record is sent to.
set role bos_owner;

-- One row for each file, or for the whole thing where `path` is null. It stands apart from the ledger: a reader waits for
-- no other one. Batches of rows are sealed by a line of the ledger each.
create table ops.accesses (
  org_id text not null,                    -- no reference: each would hold the one row that all readers share
  id bigint generated always as identity,
  at timestamptz not null,
  noted_at timestamptz not null default clock_timestamp(),  -- when the row was written: sealed some time after that
  actor text not null,
  actor_name text not null,
  role text not null,
  door text not null,
  request_id text not null,
  tool text not null,
  action text not null,                    -- files.read, git.fetch, audit.export, …
  object text not null,                    -- id of what was read
  repo text,
  branch text,
  path text,
  primary key (org_id, id)
);
create index on ops.accesses (org_id, at, id);
create index on ops.accesses (org_id, actor, at, id);
create index on ops.accesses (org_id, object, at, id);
create index on ops.accesses (org_id, branch, at, id) where branch is not null;
create index on ops.accesses (org_id, md5(path), at, id) where path is not null;

-- What stands in the ledger as a commitment only, so that it can be erased: SHA-256 over salt and text.
create table ops.ledger_words (
  org_id text not null references ops.orgs,
  commitment bytea not null check (length(commitment) = 32),
  subject text not null,                   -- whose words they are
  salt bytea not null check (length(salt) = 16),
  words text not null,
  at timestamptz not null,
  primary key (org_id, commitment)
);
create index on ops.ledger_words (org_id, subject);
create index on ops.ledger_words (org_id, at);

create table ops.retention (
  org_id text primary key references ops.orgs,
  access_days int check (access_days between 1 and 36500),
  words_days int check (words_days between 1 and 36500)
);

create table ops.holds (
  id text primary key,
  org_id text not null references ops.orgs,
  subject text,                            -- whose traces are kept; null: everybody's
  reason text not null,
  created_by text not null,
  created_at timestamptz not null,
  released_by text,
  released_at timestamptz
);
create index on ops.holds (org_id, id);

-- Who somebody was that left while a hold named them, or everybody. Nothing signs in or is shown by these rows.
create table ops.held_people (
  member_id text primary key references ops.members,
  org_id text not null references ops.orgs,
  email text not null,
  name text not null,
  identities jsonb not null                -- issuer and subject of each
);
create index on ops.held_people (org_id);

create table ops.sinks (
  id text primary key,
  org_id text not null references ops.orgs,
  name text not null,
  kind text not null check (kind in ('webhook', 'syslog', 'file', 's3')),
  stream text not null check (stream in ('ledger', 'access')),
  config jsonb not null,                   -- without secrets
  secret bytea,                            -- sealed
  cursor bigint not null,                  -- the last number that was taken
  state text not null check (state in ('active', 'deleted')),
  failing_since timestamptz,
  last_error text,
  last_at timestamptz,                     -- of the last batch that was taken
  tested_at timestamptz,
  test_error text,
  created_by text not null,
  created_at timestamptz not null
);
create index on ops.sinks (org_id, id);
create unique index on ops.sinks (org_id, name) where state = 'active';

call ops.wall('accesses', 'ledger_words', 'retention', 'holds', 'held_people', 'sinks');
revoke update, delete on ops.accesses, ops.ledger_words from bos_app;
revoke delete on ops.holds, ops.sinks from bos_app;
revoke insert, update, delete on ops.held_people from bos_app;
revoke update, delete on ops.people, ops.identities from bos_app;
grant insert on ops.held_people to bos_definer;
grant delete on ops.accesses, ops.ledger_words to bos_definer;

create function ops.note_access(p_at timestamptz, p_actor text, p_name text, p_role text, p_door text, p_request text, p_tool text,
  p_action text, p_object text, p_repo text, p_branch text, p_paths text[]) returns void language sql set search_path = ops, pg_temp as $$
  insert into ops.accesses (org_id, at, actor, actor_name, role, door, request_id, tool, action, object, repo, branch, path)
    select ops.org(), p_at, p_actor, p_name, p_role, p_door, p_request, p_tool, p_action, p_object, p_repo, p_branch, p
      from unnest(case when cardinality(p_paths) = 0 then array[null] else p_paths end) p
$$;
reset role;

-- Forgetting is for these alone, and none forgets what is held.
grant create on schema ops to bos_definer;
set role bos_definer;
create function ops.forget_accesses(p_upto bigint) returns bigint language plpgsql security definer set search_path = ops, pg_temp as $$
declare o text := ops.org(); n bigint;
begin
  if o is null then raise exception 'no organisation' using errcode = '42501'; end if;
  if exists (select from ops.holds where org_id = o and released_at is null) then return 0; end if;
  delete from ops.accesses where org_id = o and id <= p_upto;
  get diagnostics n = row_count;
  return n;
end $$;
create function ops.forget_words(p_subject text, p_before timestamptz) returns bigint language plpgsql security definer set search_path = ops, pg_temp as $$
declare o text := ops.org(); n bigint;
begin
  if o is null then raise exception 'no organisation' using errcode = '42501'; end if;
  delete from ops.ledger_words w
   where w.org_id = o and (p_subject is null or w.subject = p_subject) and (p_before is null or w.at < p_before)
     and not exists (select from ops.holds h where h.org_id = o and h.released_at is null
                        and (h.subject is null or h.subject = w.subject));
  get diagnostics n = row_count;
  return n;
end $$;
-- Takes away who a member was; while a hold names that one, or everybody, it is set aside.
create function ops.forget_person(p_member text) returns void language plpgsql security definer set search_path = ops, pg_temp as $$
declare o text := ops.org();
begin
  if o is null then raise exception 'no organisation' using errcode = '42501'; end if;
  insert into ops.held_people
    select p.member_id, o, p.email, p.name,
           coalesce((select jsonb_agg(jsonb_build_object('issuer', i.issuer, 'subject', i.subject))
                       from ops.identities i where i.org_id = o and i.member_id = p_member), '[]')
      from ops.people p
     where p.org_id = o and p.member_id = p_member
       and exists (select from ops.holds h where h.org_id = o and h.released_at is null
                      and (h.subject is null or h.subject = p_member));
  delete from ops.identities where org_id = o and member_id = p_member;
  delete from ops.people where org_id = o and member_id = p_member;
end $$;
create function ops.forget_held_people() returns bigint language plpgsql security definer set search_path = ops, pg_temp as $$
declare o text := ops.org(); n bigint;
begin
  if o is null then raise exception 'no organisation' using errcode = '42501'; end if;
  delete from ops.held_people p
   where p.org_id = o and not exists (select from ops.holds h where h.org_id = o and h.released_at is null
                                         and (h.subject is null or h.subject = p.member_id));
  get diagnostics n = row_count;
  return n;
end $$;
-- Organisations with a sink that is behind.
create function ops.sink_orgs() returns setof text language plpgsql stable security definer set search_path = ops, pg_temp as $$
begin
  perform ops.ensure_server();
  return query
  select distinct s.org_id from ops.sinks s where s.state = 'active'
     and case s.stream when 'ledger' then s.cursor < (select h.seq from ops.ledger_head h where h.org_id = s.org_id)
         else exists (select from ops.accesses a where a.org_id = s.org_id and a.id > s.cursor) end;
end $$;
reset role;
revoke create on schema ops from bos_definer;
revoke execute on function ops.forget_accesses, ops.forget_words, ops.forget_person, ops.forget_held_people, ops.sink_orgs from public;
grant execute on function ops.forget_accesses, ops.forget_words, ops.forget_person, ops.forget_held_people, ops.sink_orgs to bos_app;
