"""Tables of triggers; see `0001_triggers.sql`."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from builderos.core.tables import metadata

triggers = sa.Table(
    "triggers",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("pipeline", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("spec", JSONB, nullable=False),
    sa.Column("repo_id", sa.Text, nullable=False),
    sa.Column("repo_name", sa.Text, nullable=False),
    sa.Column("branch", sa.Text, nullable=False),
    sa.Column("actor", JSONB, nullable=False),
    sa.Column("actor_id", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("next_at", sa.DateTime(timezone=True)),
    sa.Column("last_at", sa.DateTime(timezone=True)),
    sa.Column("last_run_id", sa.Text),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("secret", sa.LargeBinary),
    sa.Column("old_secret", sa.LargeBinary),
    sa.Column("old_until", sa.DateTime(timezone=True)),
)

firings = sa.Table(
    "trigger_firings",
    metadata,
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("trigger_id", sa.Text, primary_key=True),
    sa.Column("occasion", sa.Text, primary_key=True),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("stamp", sa.BigInteger),
    sa.Column("digest", sa.Text),
)
