"""Replies that are kept for a day, so that a repeated call has one effect. Encrypted: an init's reply holds a token."""

from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from builderos.core.problems import Problem
from builderos.core.tables import metadata
from builderos.core.unit import Retry, Unit
from builderos.trust.secrets.service import Box

kept_replies = sa.Table(
    "idempotency",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("scope", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("request_hash", sa.LargeBinary, nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("reply", sa.LargeBinary, nullable=False),
    sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
)


def recall(unit: Unit, scope: str, key: str, fingerprint: bytes) -> tuple[int, bytes] | None:
    """The stored reply, or None; raises `idempotency_conflict` when the key was used for another body."""
    c = kept_replies.c
    row = unit.execute(
        sa.select(c.request_hash, c.status, c.reply).where(
            c.scope == scope, c.key == key, c.expires_at > unit.now
        )
    ).one_or_none()
    if row is None:
        return None
    if row.request_hash != fingerprint:
        raise Problem(
            "idempotency_conflict", "this idempotency_key was used for another request",
            hint="Use a new key for a new request.",
        )  # fmt: skip
    return row.status, unit.get(Box).open(row.reply, f"idempotency:{scope}:{key}")


def remember(unit: Unit, scope: str, key: str, fingerprint: bytes, status: int, reply: bytes) -> None:
    """Keep a reply with the effect it describes, in one transaction. Raises `Retry` when a twin was faster."""
    values = {
        "request_hash": fingerprint,
        "status": status,
        "reply": unit.get(Box).seal(reply, f"idempotency:{scope}:{key}"),
        "expires_at": unit.now + timedelta(hours=unit.settings.idempotency_hours),
    }
    statement = insert(kept_replies).values(org_id=unit.org_id, scope=scope, key=key, **values)
    done = unit.execute(
        statement.on_conflict_do_update(
            index_elements=["org_id", "scope", "key"],
            set_=values,
            where=kept_replies.c.expires_at <= unit.now,
        ).returning(kept_replies.c.key)
    )
    if done.first() is None:
        raise Retry


def sweep(unit: Unit) -> int:
    """Forget what has expired; returns how many."""
    return unit.execute(sa.delete(kept_replies).where(kept_replies.c.expires_at <= unit.now)).rowcount
