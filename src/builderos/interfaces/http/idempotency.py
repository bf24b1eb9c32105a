"""Replies that are kept for a day, so that a repeated call has one effect. Encrypted: some hold a credential."""

from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from builderos.core.actor import Actor
from builderos.core.problems import Problem
from builderos.core.tables import metadata
from builderos.core.unit import Retry, Unit
from builderos.trust.secrets.service import Box, Keyring

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


@dataclass(frozen=True)
class Slot:
    """Where the reply of a call is kept: whose (`scope`), under which key, for which body.

    `secret`: the reply holds a credential and is sealed under the organisation's own key, so that it ends with it.
    """

    scope: str
    key: str
    fingerprint: bytes
    secret: bool = False

    @property
    def purpose(self) -> str:
        """What the sealed reply is bound to."""
        return f"idempotency:{self.scope}:{self.key}"

    def box(self, unit: Unit) -> Box:
        """What seals and opens the reply."""
        return unit.get(Keyring).box(unit) if self.secret else unit.get(Box)


def scope_of(actor: Actor, operation: str) -> str:
    """Whose repetition a call can be: that of the very same credential.

    The reply is given without asking the policy again, so another credential of the same actor, which may be allowed
    less, must not get it. The tokens of one session, and those of one sandbox, follow each other and count as one, but
    only with the same role and scopes.
    """
    proof = actor.sandbox_id if actor.role == "sandbox" else actor.session_id
    means = [actor.role, proof or actor.credential_id or "", *sorted(actor.scopes)]
    return f"{actor.id}:{operation}:{' '.join(means)}"


def recall(unit: Unit, slot: Slot) -> tuple[int, bytes] | None:
    """The stored reply, or None; raises `idempotency_conflict` when the key was used for another body."""
    c = kept_replies.c
    row = unit.execute(
        sa.select(c.request_hash, c.status, c.reply).where(
            c.scope == slot.scope, c.key == slot.key, c.expires_at > unit.now
        )
    ).one_or_none()
    if row is None:
        return None
    if row.request_hash != slot.fingerprint:
        raise Problem(
            "idempotency_conflict", "this idempotency_key was used for another request",
            hint="Use a new key for a new request.",
        )  # fmt: skip
    return row.status, slot.box(unit).open(row.reply, slot.purpose)


def remember(unit: Unit, slot: Slot, status: int, reply: bytes) -> None:
    """Keep a reply with the effect it describes, in one transaction. Raises `Retry` when a twin was faster."""
    values = {
        "request_hash": slot.fingerprint,
        "status": status,
        "reply": slot.box(unit).seal(reply, slot.purpose),
        "expires_at": unit.now + timedelta(hours=unit.settings.idempotency_hours),
    }
    statement = insert(kept_replies).values(org_id=unit.org_id, scope=slot.scope, key=slot.key, **values)
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
