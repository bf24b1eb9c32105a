"""Tables of what is kept in mind; see `0001_memory.sql`."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from builderos.core.tables import metadata


class Vector(sa.types.UserDefinedType[str]):
    """A vector as its text, `[0.25,-1,…]`; which of the extension's types it is, the column says."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """The type's name, for messages alone."""
        return "halfvec"


memory_items = sa.Table(
    "memory_items",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("repo_id", sa.Text, nullable=False),
    sa.Column("branch_id", sa.Text, nullable=False),
    sa.Column("agent", sa.Text, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("tier", sa.Text, nullable=False),
    sa.Column("fact", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("tags", ARRAY(sa.Text), nullable=False),
    sa.Column("source", JSONB, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("pinned", sa.Boolean, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("changed_by", sa.Text, nullable=False),
    sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("expires_at", sa.DateTime(timezone=True)),
    sa.Column("deleted_at", sa.DateTime(timezone=True)),
)
memory_history = sa.Table(
    "memory_history",
    metadata,
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("item_id", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("act", sa.Text, nullable=False),
    sa.Column("body", sa.Text),
    sa.Column("tags", ARRAY(sa.Text), nullable=False),
    sa.Column("source", JSONB, nullable=False),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
)
memory_vectors = sa.Table(
    "memory_vectors",
    metadata,
    sa.Column("item_id", sa.Text, primary_key=True),
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("repo_id", sa.Text, nullable=False),
    sa.Column("branch_id", sa.Text, nullable=False),
    sa.Column("agent", sa.Text, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("tier", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("dim", sa.Integer, nullable=False),
    sa.Column("until", sa.DateTime(timezone=True)),
    sa.Column("emb", Vector, nullable=False),
)
memory_space = sa.Table(
    "memory_space",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("held", sa.BigInteger, nullable=False),
)
