-- Policy files: every text that was proposed, and which of them came into force when. Both are only ever appended to.
set role bos_owner;
create table ops.policies (
  id text primary key,
  org_id text not null references ops.orgs,
  digest text not null,                    -- sha256 of the text
  base_digest text not null,               -- of the text in force when it was proposed; empty: none was
  content text not null,
  author text not null,
  approval_id text not null unique references ops.approvals,
  created_at timestamptz not null
);
create index on ops.policies (org_id, id);
create table ops.policy_versions (
  org_id text not null references ops.orgs,
  version int not null check (version > 0),
  policy_id text not null references ops.policies,
  activated_by text not null,
  activated_at timestamptz not null,
  primary key (org_id, version)
);
call ops.wall('policies', 'policy_versions');
call ops.append_only('policies', 'policy_versions');
reset role;
