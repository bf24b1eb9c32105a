"""Tables of the room; see `0001_sessions.sql`."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from builderos.core.tables import metadata


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def _moments(*names: str) -> list[sa.Column[object]]:
    return [sa.Column(name, sa.DateTime(timezone=True)) for name in names]


sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    *_texts("org_id"),
    sa.Column("project_id", sa.Text),
    *_texts("repo_id", "branch_id", "repo_name", "branch", "kind", "editor", "runtime", "profile", "status"),
    sa.Column("reason", sa.Text),
    *_texts("detail"),
    sa.Column("idle_timeout", sa.Integer, nullable=False),
    sa.Column("starts", sa.Integer, nullable=False),
    *_texts("machine"),
    sa.Column("url", sa.Text),
    sa.Column("base_tree", sa.Text),
    sa.Column("checkpoint", JSONB),
    *_texts("logs_ref"),
    sa.Column("sandbox_run_id", sa.Text),
    sa.Column("usage", JSONB),
    sa.Column("calls", JSONB, nullable=False),
    sa.Column("actor", JSONB, nullable=False),
    *_texts("created_by"),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    *_moments("started_at", "last_active_at", "ended_at"),
)

tokens = sa.Table(
    "session_tokens",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    *_texts("org_id", "session_id"),
    sa.Column("hash", sa.LargeBinary, nullable=False),
    *_texts("kind"),
    sa.Column("actor", JSONB, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
    *_moments("used_at"),
)
