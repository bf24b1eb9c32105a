"""Tables of who read what, of what is kept and for how long, and of where the record is sent to."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from builderos.core.tables import metadata


def _at(name: str, *, nullable: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


accesses = sa.Table(
    "accesses",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    _at("at"),
    _at("noted_at"),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("actor_name", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("door", sa.Text, nullable=False),
    sa.Column("request_id", sa.Text, nullable=False),
    sa.Column("tool", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("object", sa.Text, nullable=False),
    sa.Column("repo", sa.Text),
    sa.Column("branch", sa.Text),
    sa.Column("path", sa.Text),
)
retention = sa.Table(
    "retention",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("access_days", sa.Integer),
    sa.Column("words_days", sa.Integer),
)
holds = sa.Table(
    "holds",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("subject", sa.Text),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    _at("created_at"),
    sa.Column("released_by", sa.Text),
    _at("released_at", nullable=True),
)
sinks = sa.Table(
    "sinks",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("stream", sa.Text, nullable=False),
    sa.Column("config", JSONB, nullable=False),
    sa.Column("secret", sa.LargeBinary),
    sa.Column("cursor", sa.BigInteger, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    _at("failing_since", nullable=True),
    sa.Column("last_error", sa.Text),
    _at("last_at", nullable=True),
    _at("tested_at", nullable=True),
    sa.Column("test_error", sa.Text),
    sa.Column("created_by", sa.Text, nullable=False),
    _at("created_at"),
)
