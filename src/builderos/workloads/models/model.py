"""Tables of the room; see `0001_models.sql`."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from builderos.core.tables import metadata


def _at(name: str, *, nullable: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


models = sa.Table(
    "models",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("tags", JSONB, nullable=False),
    sa.Column("numbers", sa.Integer, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    _at("created_at"),
    _at("updated_at"),
    _at("gone_at", nullable=True),
)
versions = sa.Table(
    "model_versions",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("model_id", sa.Text, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("stage", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("run_id", sa.Text),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("files", JSONB, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("tags", JSONB, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    _at("created_at"),
    _at("updated_at"),
    _at("gone_at", nullable=True),
)
aliases = sa.Table(
    "model_aliases",
    metadata,
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("model_id", sa.Text, primary_key=True),
    sa.Column("alias", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, nullable=False),
)
promotions = sa.Table(
    "promotions",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("source", JSONB, nullable=False),
    sa.Column("target", JSONB, nullable=False),
    sa.Column("shown", JSONB, nullable=False),
    sa.Column("result", JSONB, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("approval_id", sa.Text),
    sa.Column("requested_by", sa.Text, nullable=False),
    _at("created_at"),
    _at("updated_at"),
)
