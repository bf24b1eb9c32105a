"""The table of effects; see `0001_effects.sql`."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from builderos.core.tables import metadata

run_effects = sa.Table(
    "run_effects",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("step_id", sa.Text, nullable=False),
    sa.Column("request", JSONB, nullable=False),
    sa.Column("request_digest", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("result", JSONB),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("ended_at", sa.DateTime(timezone=True)),
)
