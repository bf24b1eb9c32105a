-- The tree over the ledger's lines: signed roots, and the nodes over 256, 256², … lines. Written once, by the server, in
-- the checkpoint's own transaction; appending to the ledger touches neither.
set role bos_owner;
create table ops.ledger_nodes (
  org_id text not null references ops.orgs,
  level smallint not null check (level > 0),
  index bigint not null,
  hash bytea not null check (length(hash) = 32),
  primary key (org_id, level, index)
);
create table ops.checkpoints (
  org_id text not null references ops.orgs,
  size bigint not null check (size > 0),   -- how many lines are under the root
  root bytea not null check (length(root) = 32),
  note text not null,                      -- C2SP signed note, exactly as given out
  at timestamptz not null,
  primary key (org_id, size)
);
revoke update, delete on ops.ledger_nodes, ops.checkpoints from bos_app;
do $$
declare t text;
begin
  foreach t in array array['ledger_nodes', 'checkpoints'] loop
    execute format('alter table ops.%I enable row level security', t);
    execute format('alter table ops.%I force row level security', t);
    execute format('create policy org on ops.%I using (org_id = (select ops.org())) with check (org_id = (select ops.org()))', t);
    execute format('create trigger append_only before update or delete or truncate on ops.%I execute function ops.refuse()', t);
  end loop;
end $$;
reset role;
