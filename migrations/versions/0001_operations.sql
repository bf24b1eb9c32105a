-- What an operator may know of the whole server: sums over all organisations, nothing of any one of them.
grant create on schema ops to bos_definer;
set role bos_definer;
create function ops.numbers() returns table (name text, label text, value double precision)
language sql stable security definer set search_path = ops, pg_temp as $$
  select 'organisations', '', count(*)::float8 from ops.orgs where erased_at is null
  union all
  select 'repositories', '', count(*)::float8 from ops.repositories where deleted_at is null
  union all
  select 'sandboxes', state, count(*)::float8 from ops.sandboxes group by state
  union all
  select 'journal_rows', '', count(*)::float8 from ops.git_journal
  union all
  select 'journal_age_seconds', '', coalesce(greatest(0, extract(epoch from now() - min(at))), 0)::float8 from ops.git_journal
  union all
  select 'outbox_messages', case when attempts > 0 then 'failing' when next_at <= now() then 'due' else 'later' end, count(*)::float8
    from ops.outbox where done_at is null group by 2
  union all
  select 'outbox_lag_seconds', '', coalesce(greatest(0, extract(epoch from now() - min(next_at))), 0)::float8
    from ops.outbox where done_at is null
  union all
  select 'approvals_pending', '', count(*)::float8 from ops.approvals where state = 'pending'
  union all
  select 'alerts_open', severity, count(*)::float8 from ops.alerts where state = 'open' group by severity
  union all
  -- Lines that no signed checkpoint covers, and for how long the organisation that waits longest has had none.
  select unnest(array['ledger_lines', 'ledger_unsigned_lines', 'ledger_unsigned_seconds']), '', unnest(array[
      coalesce(sum(h.seq), 0), coalesce(sum(h.seq - coalesce(c.size, 0)), 0),
      coalesce(max(extract(epoch from now() - coalesce(c.at, o.created_at))) filter (where h.seq > coalesce(c.size, 0)), 0)])::float8
    from ops.ledger_head h join ops.orgs o on o.id = h.org_id
    left join lateral (select size, at from ops.checkpoints k where k.org_id = h.org_id order by size desc limit 1) c on true
$$;
reset role;
revoke create on schema ops from bos_definer;
revoke execute on function ops.numbers from public;
grant execute on function ops.numbers to bos_app;
