"""Tables of people, invites, sessions and sign-ins. What tells who a person is stands in `people` alone."""

from datetime import datetime

import sqlalchemy as sa

from builderos.core.tables import metadata


def _at(name: str, *, nullable: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


people = sa.Table(
    "people",
    metadata,
    sa.Column("member_id", sa.Text, primary_key=True),
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("email", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
)
identities = sa.Table(
    "identities",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("issuer", sa.Text, primary_key=True),
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("member_id", sa.Text, nullable=False),
)
invites = sa.Table(
    "invites",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("credential_id", sa.Text, nullable=False),
    sa.Column("email", sa.Text),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    _at("created_at"),
    _at("expires_at"),
    _at("accepted_at", nullable=True),
    _at("revoked_at", nullable=True),
    sa.Column("member_id", sa.Text),
)
sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("member_id", sa.Text, nullable=False),
    sa.Column("method", sa.Text, nullable=False),
    _at("created_at"),
    _at("used_at"),
    _at("expires_at"),
    _at("ended_at", nullable=True),
    sa.Column("ended_why", sa.Text),
)
refresh_tokens = sa.Table(
    "refresh_tokens",
    metadata,
    sa.Column("hash", sa.LargeBinary, primary_key=True),
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("session_id", sa.Text, nullable=False),
    _at("created_at"),
    _at("used_at", nullable=True),
)
sign_ins = sa.Table(
    "sign_ins",
    metadata,
    sa.Column("hash", sa.LargeBinary, primary_key=True),
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("browser", sa.LargeBinary, nullable=False),
    sa.Column("member_id", sa.Text),
    sa.Column("sealed", sa.LargeBinary),
    _at("created_at"),
    _at("expires_at"),
    _at("used_at", nullable=True),
)
