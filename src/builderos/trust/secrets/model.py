"""Table of the organisations' data keys, wrapped."""

import sqlalchemy as sa

from builderos.core.tables import metadata

org_keys = sa.Table(
    "org_keys",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("wrapped", sa.LargeBinary, nullable=False),
    sa.Column("wrapped_by", sa.Text, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
)
