"""Tables of sandboxes, promotions, backups and share links."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from builderos.core.tables import metadata


def _at(name: str, *, nullable: bool = True) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


sandboxes = sa.Table(
    "sandboxes",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("repo_id", sa.Text, nullable=False),
    sa.Column("branch_id", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("profile", sa.Text, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    _at("created_at", nullable=False),
    _at("last_active_at", nullable=False),
    _at("expires_at"),
    _at("archived_at"),
    _at("deleted_at"),
)
pulls = sa.Table(
    "pulls",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("repo_id", sa.Text, nullable=False),
    sa.Column("source_branch_id", sa.Text, nullable=False),
    sa.Column("target_branch_id", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("mode", sa.Text, nullable=False),
    sa.Column("version", sa.Text),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("head_sha", sa.Text, nullable=False),
    sa.Column("base_sha", sa.Text, nullable=False),
    sa.Column("diff_hash", sa.Text, nullable=False),
    sa.Column("diff_stat", JSONB, nullable=False),
    sa.Column("checks", JSONB, nullable=False),
    sa.Column("comments", JSONB, nullable=False),
    sa.Column("approval_id", sa.Text),
    sa.Column("merge_sha", sa.Text),
    sa.Column("tag", sa.Text),
    sa.Column("created_by", sa.Text, nullable=False),
    _at("created_at", nullable=False),
    _at("merged_at"),
)
backups = sa.Table(
    "backups",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("repo_id", sa.Text, nullable=False),
    sa.Column("branch_id", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("ref", sa.Text, nullable=False),
    sa.Column("commit_sha", sa.Text, nullable=False),
    sa.Column("files", JSONB, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    _at("created_at", nullable=False),
    _at("expires_at"),
)
shares = sa.Table(
    "shares",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("sandbox_id", sa.Text, nullable=False),
    sa.Column("credential_id", sa.Text, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    _at("created_at", nullable=False),
    _at("expires_at"),
    _at("revoked_at"),
)
