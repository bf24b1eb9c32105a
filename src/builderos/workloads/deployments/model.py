"""Tables of the room; see `0001_deployments.sql`."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from builderos.core.tables import metadata

places = sa.Table(
    "deploy_places",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("repo_id", sa.Text, nullable=False),
    sa.Column("env", sa.Text, nullable=False),
    sa.Column("branch_id", sa.Text),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("machine", sa.Text, nullable=False),
    sa.Column("url", sa.Text),
    sa.Column("current_id", sa.Text),
    sa.Column("numbers", sa.Integer, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
)

deployments = sa.Table(
    "deployments",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("place_id", sa.Text, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("step_id", sa.Text, nullable=False),
    sa.Column("project_id", sa.Text),
    sa.Column("repo_id", sa.Text, nullable=False),
    sa.Column("branch_id", sa.Text, nullable=False),
    sa.Column("repo_name", sa.Text, nullable=False),
    sa.Column("branch", sa.Text, nullable=False),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("env", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("url", sa.Text),
    sa.Column("tree", sa.Text, nullable=False),
    sa.Column("built_tree", sa.Text),
    sa.Column("commit_sha", sa.Text),
    sa.Column("manifest", JSONB, nullable=False),
    sa.Column("health", JSONB),
    sa.Column("logs_ref", sa.Text, nullable=False),
    sa.Column("replaces", sa.Text),
    sa.Column("approval_id", sa.Text),
    sa.Column("policy_events", JSONB, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("live_at", sa.DateTime(timezone=True)),
    sa.Column("ended_at", sa.DateTime(timezone=True)),
)
