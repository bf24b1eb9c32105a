"""Tables of artifacts: the content, who refers to it, uploads that go on, terms and limits."""

from datetime import datetime

import sqlalchemy as sa

from builderos.core.tables import metadata


def _at(name: str, *, nullable: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


space = sa.Table(
    "artifact_space",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("bytes", sa.BigInteger, nullable=False),
)
contents = sa.Table(
    "artifact_contents",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("hash", sa.LargeBinary, primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("blocks", sa.LargeBinary, nullable=False),
    sa.Column("store", sa.Text, nullable=False),
    _at("stored_at"),
    _at("doomed_at", nullable=True),
)
artifacts = sa.Table(
    "artifacts",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("run_id", sa.Text),
    sa.Column("step_id", sa.Text),
    sa.Column("repo_id", sa.Text),
    sa.Column("sandbox_id", sa.Text),
    sa.Column("pipeline", sa.Text),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("hash", sa.LargeBinary, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("media_type", sa.Text, nullable=False),
    sa.Column("redacted", sa.Boolean, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_by_prompt", sa.Text),
    sa.Column("created_by_agent", sa.Text),
    _at("created_at"),
    _at("expires_at", nullable=True),
    _at("gone_at", nullable=True),
    sa.Column("gone_why", sa.Text),
)
uploads = sa.Table(
    "artifact_uploads",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("run_id", sa.Text),
    sa.Column("repo_id", sa.Text),
    sa.Column("sandbox_id", sa.Text),
    sa.Column("pipeline", sa.Text),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("media_type", sa.Text),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("hash", sa.LargeBinary, nullable=False),
    sa.Column("store", sa.Text, nullable=False),
    sa.Column("received", sa.BigInteger, nullable=False),
    sa.Column("lease", sa.Text),
    _at("leased_at", nullable=True),
    _at("artifact_expires_at", nullable=True),
    sa.Column("created_by", sa.Text, nullable=False),
    _at("created_at"),
    _at("expires_at"),
)
rules = sa.Table(
    "artifact_rules",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("pipeline", sa.Text, primary_key=True),
    sa.Column("keep_days", sa.Integer),
    sa.Column("max_bytes", sa.BigInteger),
    sa.Column("redact", sa.Text),
    sa.Column("set_by", sa.Text, nullable=False),
    _at("set_at"),
)
