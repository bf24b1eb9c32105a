-- What stands between an organisation and its repositories, who may do what where, the organisation's own key, and how it
-- is found and ended.
set role bos_owner;

-- Repositories of these names are this organisation's. A pattern belongs to one; the server's owner gives them out.
create table ops.repo_patterns (
  pattern text primary key,                -- `acme/*`: an owner; `acme-*`: the beginning of a name
  org_id text not null references ops.orgs,
  created_at timestamptz not null
);
create index on ops.repo_patterns (org_id);

create table ops.org_keys (
  org_id text primary key references ops.orgs,
  wrapped bytea not null,                  -- the data key, sealed with the server's; without this row nobody reads what it sealed
  wrapped_by text not null,                -- which of the server's keys
  created_at timestamptz not null
);

create table ops.workspaces (
  id text primary key,
  org_id text not null references ops.orgs,
  name text not null,
  created_by text not null,
  created_at timestamptz not null,
  archived_at timestamptz
);
create unique index on ops.workspaces (org_id, name);

create table ops.projects (
  id text primary key,
  org_id text not null references ops.orgs,
  workspace_id text not null references ops.workspaces,
  name text not null,
  path text not null default '',           -- where in its repositories it lies; empty: all of them
  stack text[] not null default '{}',
  envs text[] not null default '{}',
  desks text[] not null default '{}',
  prompts text[] not null default '{}',
  created_by text not null,
  created_at timestamptz not null,
  archived_at timestamptz
);
create unique index on ops.projects (org_id, name);  -- policy files know a project by its name
create index on ops.projects (workspace_id);

alter table ops.repositories add column project_id text references ops.projects;
create index on ops.repositories (project_id);

-- A role in one place, instead of the role in the whole organisation. The most specific grant decides alone.
create table ops.grants (
  id text primary key,
  org_id text not null references ops.orgs,
  member_id text not null,
  place_id text not null,                  -- of an organisation, a workspace, a project or a repository
  environment text not null default '',    -- empty: every act there; else only those in this environment
  role text not null check (role in ('admin', 'builder', 'reviewer', 'viewer')),
  created_by text not null,
  created_at timestamptz not null
);
create unique index on ops.grants (member_id, place_id, environment);
create index on ops.grants (org_id, id);
create index on ops.grants (place_id);

call ops.wall('repo_patterns', 'org_keys', 'workspaces', 'projects', 'grants');

-- The repository that an approval is about, if any.
create function ops.repository_of_approval(p_id text) returns text
language sql stable set search_path = ops, pg_temp as $$
  select p.repo_id from ops.approvals a join ops.pulls p on p.id = a.object where a.id = p_id
$$;

-- The places that a repository lies in: what a role in one of them is compared with.
create function ops.home_of(p_repo text) returns table (repo_name text, home text)
language sql stable set search_path = ops, pg_temp as $$
  select r.name, coalesce(p.id || '|' || p.workspace_id || '|' || p.name, '')
    from ops.repositories r left join ops.projects p on p.id = r.project_id where r.id = p_repo
$$;
create function ops.homes() returns table (repo_name text, project text) language sql stable set search_path = ops, pg_temp as $$
  select r.name, p.name from ops.repositories r join ops.projects p on p.id = r.project_id where r.deleted_at is null
$$;
grant update on ops.orgs to bos_definer;
reset role;

grant create on schema ops to bos_definer;
set role bos_definer;
-- Where somebody without a credential is: in the organisation that is named, else in the one whose repositories are called
-- so, else in the server's own. Closed ones are as good as not there, so that nobody hears which names they have.
-- `rival`: another one than the named, whose repositories are called so.
create function ops.org_for_visitor(p_slug text, p_patterns text[]) returns table (id text, anonymous boolean, rival text)
language plpgsql stable security definer set search_path = ops, pg_temp as $$
declare named ops.orgs; owning ops.orgs;
begin
  select o.* into owning from ops.repo_patterns t join ops.orgs o on o.id = t.org_id
   where t.pattern = any (p_patterns) and o.anonymous and o.closing_at is null
   order by t.pattern like '%/*' desc, length(t.pattern) desc limit 1;
  if p_slug is null and owning.id is not null then
    return query select owning.id, true, null::text;
    return;
  end if;
  select o.* into named from ops.orgs o where o.slug = coalesce(p_slug, 'local') and o.erased_at is null;
  if named.id is null then return; end if;
  return query select named.id, named.anonymous and named.closing_at is null,
    case when owning.id <> named.id and named.anonymous and named.closing_at is null then owning.slug end;
end $$;

-- Removes every row of the organisation of this transaction, once its time has come, but its ledger and what proves it.
-- Tables of tomorrow are found by the catalogue; those that others refer to go last.
create function ops.erase_org() returns bigint language plpgsql security definer set search_path = ops, pg_temp as $$
declare
  o text := ops.org();
  waiting oid[];
  next_one oid;
  gone bigint := 0;
  touched bigint;
begin
  perform 1 from ops.orgs where id = o and erased_at is null and erase_at <= now() for update;
  if not found then raise exception 'this organisation is not to be erased now' using errcode = '42501'; end if;
  if exists (select from ops.holds where org_id = o and released_at is null) then
    raise exception 'this organisation is held: its legal holds are released first' using errcode = '42501';
  end if;
  select array_agg(c.oid) into waiting from pg_class c
   where c.relnamespace = 'ops'::regnamespace and c.relkind in ('r', 'p')
     and c.relname not in ('orgs', 'ledger', 'ledger_head', 'ledger_nodes', 'ledger_terms', 'checkpoints');
  while cardinality(waiting) > 0 loop
    select t into next_one from unnest(waiting) t where not exists (
      select from pg_constraint f where f.contype = 'f' and f.confrelid = t and f.conrelid <> t and f.conrelid = any (waiting))
     limit 1;
    if next_one is null then raise exception 'tables refer to each other in a circle'; end if;
    execute format('delete from %s where org_id = $1', next_one::regclass) using o;
    get diagnostics touched = row_count;
    gone := gone + touched;
    waiting := array_remove(waiting, next_one);
  end loop;
  update ops.orgs set erased_at = now(), name = '', anonymous = false, slug = 'erased-' || lower(replace(o, '_', '-')) where id = o;
  return gone;
end $$;
reset role;
revoke create on schema ops from bos_definer;
revoke execute on function ops.org_for_visitor, ops.erase_org from public;
grant execute on function ops.org_for_visitor, ops.erase_org to bos_app;
