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
create function ops.branch(p_repo text, p_name text, p_lock boolean)
returns table (id text, repo_id text, repo_name text, name text, kind text, store text, tip text, base_sha text, commits int,
  files int, pending int, state text) language plpgsql set search_path = ops, pg_temp as $$
#variable_conflict use_column
begin
  if p_lock then perform 1 from ops.branches where repo_id = p_repo and name = p_name for update; end if;
  return query
    select b.id, b.repo_id, r.name, b.name, b.kind, b.store, b.tip, b.base_sha, b.commits, b.files, b.pending, b.state
      from ops.branches b join ops.repositories r on r.id = b.repo_id where b.repo_id = p_repo and b.name = p_name;
end $$;
reset role;
