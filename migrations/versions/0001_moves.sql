-- A branch moves here and nowhere else: compare-and-swap of its tip, the journal row and the ledger line in one call.
-- Where the tip is no longer `p_old` the whole transaction fails as serialization does, and its unit starts over.
set role bos_owner;
create function ops.move(p_branch text, p_old text, p_new text, p_objects bytea, p_commits int, p_files int, p_pending int,
  p_at timestamptz, p_ledger text) returns bigint language plpgsql set search_path = ops, pg_temp as $$
begin
  update ops.branches set tip = p_new, commits = p_commits, files = p_files, pending = p_pending, moved_at = p_at
   where id = p_branch and tip = p_old and state = 'active';
  if not found then raise exception 'the branch has moved' using errcode = '40001'; end if;
  insert into ops.git_journal (org_id, branch_id, old, new, objects) values (ops.org(), p_branch, p_old, p_new, p_objects);
  return ops.ledger_append(p_ledger);
end $$;

-- The branch a call is about, in one round trip with BEGIN; `p_lock` holds it until the transaction ends.
create type ops.found_branch as (id text, repo_id text, repo_name text, host text, name text, kind text, store text, tip text,
  base_sha text, commits int, files int, pending int, state text, home text);
create function ops.branch(p_repo text, p_name text, p_lock boolean) returns setof ops.found_branch
language plpgsql set search_path = ops, pg_temp as $$
begin
  if p_lock then perform 1 from ops.branches where repo_id = p_repo and name = p_name for update; end if;
  return query
    select b.id, b.repo_id, r.name, r.host, b.name, b.kind, b.store, b.tip, b.base_sha, b.commits, b.files, b.pending, b.state,
           coalesce(p.id || '|' || p.workspace_id || '|' || p.name, '')
      from ops.branches b join ops.repositories r on r.id = b.repo_id left join ops.projects p on p.id = r.project_id
     where b.repo_id = p_repo and b.name = p_name;
end $$;
create function ops.branch_by_id(p_id text, p_lock boolean) returns setof ops.found_branch
language plpgsql set search_path = ops, pg_temp as $$
begin
  if p_lock then perform 1 from ops.branches where id = p_id for update; end if;
  return query
    select b.id, b.repo_id, r.name, r.host, b.name, b.kind, b.store, b.tip, b.base_sha, b.commits, b.files, b.pending, b.state,
           coalesce(p.id || '|' || p.workspace_id || '|' || p.name, '')
      from ops.branches b join ops.repositories r on r.id = b.repo_id left join ops.projects p on p.id = r.project_id
     where b.id = p_id;
end $$;

-- What a new sandbox has to know: its repository (by id, or by name and owner), main and base, the first free name.
-- Step by step, each a look at one index with a plan that is kept: as one statement it was planned anew each time once the
-- tables had statistics, which took five times as long as all the looks together.
create function ops.opening(p_id text, p_name text, p_owner text, p_names text[])
returns table (id text, owner text, name text, base_branch text, reserved_names text[], host text, home text, branch_id text,
  repo_id text, repo_name text, branch_host text, branch text, kind text, store text, tip text, base_sha text, commits int, files int,
  pending int, state text, free text) language plpgsql set search_path = ops, pg_temp as $$
#variable_conflict use_column
declare
  found_ids text[] := array[p_id];
  one text;
  r ops.repositories;
  place text;
  free text;
  wanted text;
begin
  if p_id is null then
    found_ids := array(select w.id from ops.repositories w
      where w.name = p_name and (p_owner is null or w.owner = p_owner) and w.deleted_at is null limit 2);
  end if;
  foreach one in array found_ids loop
    select * into r from ops.repositories w where w.id = one and w.deleted_at is null;
    continue when not found;
    place := '';
    if r.project_id is not null then
      select p.id || '|' || p.workspace_id || '|' || p.name into place from ops.projects p where p.id = r.project_id;
    end if;
    free := null;
    foreach wanted in array p_names loop  -- no further than the first that is free
      continue when wanted = any (r.reserved_names);
      perform 1 from ops.branches t where t.repo_id = one and t.name = wanted;
      if not found then free := wanted; exit; end if;
    end loop;
    foreach wanted in array array['main', nullif(r.base_branch, 'main')] loop  -- two in a list would read all branches
      return query
        select r.id, r.owner, r.name, r.base_branch, r.reserved_names, r.host, place, b.id, b.repo_id, r.name, r.host, b.name,
               b.kind, b.store, b.tip, b.base_sha, b.commits, b.files, b.pending, b.state, free
          from ops.branches b where b.repo_id = one and b.name = wanted;
    end loop;
  end loop;
end $$;
reset role;
