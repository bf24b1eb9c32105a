"""Tables of the room; see `0001_apps.sql`."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from builderos.core.tables import metadata


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def _at(name: str, *, nullable: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


apps = sa.Table(
    "apps",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    *_texts("org_id", "name", "type", "repo_id", "repo_name"),
    sa.Column("spec", JSONB, nullable=False),
    sa.Column("policy", JSONB, nullable=False),
    sa.Column("idle_timeout", sa.Integer, nullable=False),
    *_texts("state"),
    sa.Column("asleep", sa.Boolean, nullable=False),
    sa.Column("current_id", sa.Text),
    sa.Column("numbers", sa.Integer, nullable=False),
    *_texts("machine", "created_by"),
    _at("created_at"),
    _at("updated_at"),
)

releases = sa.Table(
    "app_releases",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    *_texts("org_id", "app_id"),
    sa.Column("number", sa.Integer, nullable=False),
    *_texts("branch_id", "branch", "commit_sha", "tree"),
    sa.Column("spec", JSONB, nullable=False),
    *_texts("status"),
    sa.Column("reason", sa.Text),
    *_texts("detail"),
    sa.Column("starts", sa.Integer, nullable=False),
    sa.Column("crashes", sa.Integer, nullable=False),
    sa.Column("replaces", sa.Text),
    *_texts("created_by"),
    sa.Column("actor", JSONB, nullable=False),
    _at("created_at"),
    _at("live_at", nullable=True),
    _at("ended_at", nullable=True),
)

tokens = sa.Table(
    "app_tokens",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    *_texts("org_id", "app_id"),
    sa.Column("hash", sa.LargeBinary, nullable=False),
    *_texts("kind"),
    sa.Column("actor", JSONB, nullable=False),
    _at("created_at"),
    _at("expires_at"),
    _at("used_at", nullable=True),
)
