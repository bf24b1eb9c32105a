"""The edges of lineage, and how far others were told of runs; see `0001_lineage.sql`."""

import sqlalchemy as sa

from builderos.core.tables import metadata

edges = sa.Table(
    "lineage_edges",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("source_kind", sa.Text, nullable=False),
    sa.Column("source_id", sa.Text, primary_key=True),
    sa.Column("source_name", sa.Text, nullable=False),
    sa.Column("target_kind", sa.Text, nullable=False),
    sa.Column("target_id", sa.Text, primary_key=True),
    sa.Column("target_name", sa.Text, nullable=False),
    sa.Column("relation", sa.Text, primary_key=True),
    sa.Column("sandbox_id", sa.Text),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
)
cursors = sa.Table(
    "lineage_cursors",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False),
)
