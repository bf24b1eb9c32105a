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
call ops.wall('ledger_nodes', 'checkpoints');
call ops.append_only('ledger_nodes', 'checkpoints');
reset role;
