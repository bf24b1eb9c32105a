-- A branch moves here and nowhere else: compare-and-swap of its tip, the journal row and the ledger line in one call.
-- Null: the tip was no longer `p_old`; nothing was written.
set role bos_owner;
create function ops.move(p_branch text, p_old text, p_new text, p_objects bytea, p_commits int, p_files int, p_pending int,
  p_at timestamptz, p_ledger text) returns bigint language plpgsql set search_path = ops, pg_temp as $$
begin
  update ops.branches set tip = p_new, commits = p_commits, files = p_files, pending = p_pending, moved_at = p_at
   where id = p_branch and tip = p_old and state = 'active';
  if not found then return null; end if;
  insert into ops.git_journal (org_id, branch_id, old, new, objects) values (ops.org(), p_branch, p_old, p_new, p_objects);
  return ops.ledger_append(p_ledger);
end $$;
reset role;
