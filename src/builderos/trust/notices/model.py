"""Tables of alerts, of webhooks with their deliveries, and of what people have read."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from builderos.core.tables import metadata

alerts = sa.Table(
    "alerts",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("rule", sa.Text, nullable=False),
    sa.Column("severity", sa.Text, nullable=False),
    sa.Column("object", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("detail", JSONB, nullable=False),
    sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("acked_by", sa.Text),
    sa.Column("announced", sa.Boolean, nullable=False),
)


def _at(name: str, *, nullable: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


news_cursors = sa.Table(
    "news_cursors",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False),
)
webhooks = sa.Table(
    "webhooks",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("events", ARRAY(sa.Text), nullable=False),
    sa.Column("repo", sa.Text),
    sa.Column("branch", sa.Text),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("secret", sa.LargeBinary, nullable=False),
    sa.Column("old_secret", sa.LargeBinary),
    _at("old_until", nullable=True),
    _at("failing_since", nullable=True),
    sa.Column("created_by", sa.Text, nullable=False),
    _at("created_at"),
)
deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("webhook_id", sa.Text, nullable=False),
    sa.Column("event_id", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("round", sa.Integer, nullable=False),
    _at("created_at"),
    _at("begun_at"),
    _at("done_at", nullable=True),
)
attempts = sa.Table(
    "delivery_attempts",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("delivery_id", sa.Text, nullable=False),
    _at("at"),
    sa.Column("status", sa.Integer),
    sa.Column("latency_ms", sa.Integer),
    sa.Column("error", sa.Text),
    sa.Column("response", sa.Text),
)
reads = sa.Table(
    "inbox_reads",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("reader", sa.Text, primary_key=True),
    sa.Column("item", sa.Text, primary_key=True),
    _at("at"),
)
preferences = sa.Table(
    "notice_preferences",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("reader", sa.Text, primary_key=True),
    sa.Column("mail_approvals", sa.Boolean, nullable=False),
    sa.Column("mail_alerts", sa.Text, nullable=False),
)
