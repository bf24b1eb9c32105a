-- What was made from what. An edge says one thing, once; nothing of it changes afterwards.
set role bos_owner;
create table ops.lineage_edges (
  org_id text not null references ops.orgs,
  source_kind text not null,
  source_id text collate "C" not null,
  source_name text not null,
  target_kind text not null,
  target_id text collate "C" not null,
  target_name text not null,
  relation text not null,
  sandbox_id text,                         -- in which workspace that happened: its token sees these edges alone
  created_by text not null,
  created_at timestamptz not null,
  primary key (org_id, source_id, target_id, relation),
  check (source_id <> target_id)
);
create index on ops.lineage_edges (org_id, target_id, source_id);
-- The last line of the ledger that was looked at for what others are told in the words of OpenLineage.
create table ops.lineage_cursors (
  org_id text primary key references ops.orgs,
  seq bigint not null
);
call ops.wall('lineage_edges', 'lineage_cursors');
call ops.append_only('lineage_edges');
reset role;
