"""Tables of people, invites, sessions, sign-ins, programs and providers.

What tells who a person is stands in `people` alone.
"""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

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
    "member_sessions",
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
    sa.Column("client_id", sa.Text),
    sa.Column("scopes", ARRAY(sa.Text)),
    sa.Column("audience", sa.Text, nullable=False, server_default=""),
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
    sa.Column("provider_id", sa.Text),
)
oauth_clients = sa.Table(
    "oauth_clients",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("org_id", sa.Text),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("secret_hash", sa.LargeBinary),
    sa.Column("redirect_uris", ARRAY(sa.Text), nullable=False),
    sa.Column("created_by", sa.Text),
    _at("created_at"),
    _at("removed_at", nullable=True),
)
oauth_codes = sa.Table(
    "oauth_codes",
    metadata,
    sa.Column("hash", sa.LargeBinary, primary_key=True),
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("client_id", sa.Text, nullable=False),
    sa.Column("member_id", sa.Text, nullable=False),
    sa.Column("redirect_uri", sa.Text, nullable=False),
    sa.Column("challenge", sa.Text),
    sa.Column("scopes", ARRAY(sa.Text), nullable=False),
    sa.Column("audience", sa.Text, nullable=False),
    _at("created_at"),
    _at("expires_at"),
    sa.Column("session_id", sa.Text),
)
device_codes = sa.Table(
    "device_codes",
    metadata,
    sa.Column("hash", sa.LargeBinary, primary_key=True),
    sa.Column("user_code", sa.LargeBinary, nullable=False),
    sa.Column("org_id", sa.Text),
    sa.Column("client_id", sa.Text, nullable=False),
    sa.Column("scopes", ARRAY(sa.Text), nullable=False),
    sa.Column("audience", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("member_id", sa.Text),
    _at("created_at"),
    _at("expires_at"),
    _at("polled_at", nullable=True),
)
identity_providers = sa.Table(
    "identity_providers",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("issuer", sa.Text, nullable=False),
    sa.Column("client_id", sa.Text, nullable=False),
    sa.Column("sealed", sa.LargeBinary),
    sa.Column("domains", ARRAY(sa.Text), nullable=False),
    sa.Column("join_role", sa.Text),
    sa.Column("listed", sa.Boolean, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    _at("created_at"),
    _at("removed_at", nullable=True),
)
