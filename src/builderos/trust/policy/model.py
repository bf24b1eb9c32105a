"""Tables of approval requests and of policy files."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from builderos.core.tables import metadata

approvals = sa.Table(
    "approvals",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("run_id", sa.Text),
    sa.Column("step_id", sa.Text),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("object", sa.Text, nullable=False),
    sa.Column("diff", sa.Text, nullable=False),
    sa.Column("diff_stat", JSONB, nullable=False),
    sa.Column("diff_hash", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("risk", sa.Text, nullable=False),
    sa.Column("risk_reasons", JSONB, nullable=False),
    sa.Column("requested_by", sa.Text, nullable=False),
    sa.Column("requested_member", sa.Text),
    sa.Column("prompt_version", sa.Text),
    sa.Column("required", JSONB, nullable=False),
    sa.Column("decisions", JSONB, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("self_approved", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
)

policies = sa.Table(
    "policies",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("base_digest", sa.Text, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("approval_id", sa.Text, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
)
policy_versions = sa.Table(
    "policy_versions",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("policy_id", sa.Text, nullable=False),
    sa.Column("activated_by", sa.Text, nullable=False),
    sa.Column("activated_at", sa.DateTime(timezone=True), nullable=False),
)
