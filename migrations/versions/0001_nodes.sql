-- Pieces of stores that every machine can fetch: what left the journal, and packs that were never in it.
set role bos_owner;
create table ops.git_pieces (
  id bigint generated always as identity primary key,
  org_id text not null references ops.orgs,
  store text not null,                     -- folder of the store, as in ops.branches
  kind text not null check (kind in ('objects', 'pack')),
  hash bytea not null check (length(hash) = 32),
  size bigint not null,
  refs jsonb not null,                     -- releases in it: refs/tags/… -> object
  covers bigint,                           -- whoever has seen all pieces up to this number needs it not
  at timestamptz not null
);
create index on ops.git_pieces (store, id);
create index on ops.git_pieces (org_id, id);
grant select, insert, delete on ops.git_pieces to bos_app;
-- Trees that steps of runs have made, as what each adds to the tree that its run started from.
create table ops.run_trees (
  org_id text not null references ops.orgs,
  store text not null,                     -- folder of the trees of one repository's runs
  tree text not null,
  base text not null,
  hash bytea not null check (length(hash) = 32),
  size bigint not null,
  at timestamptz not null,
  primary key (store, tree)
);
create index on ops.run_trees (org_id, hash);
grant select, insert, delete on ops.run_trees to bos_app;
call ops.wall('git_pieces', 'run_trees');
reset role;
