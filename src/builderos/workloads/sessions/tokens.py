"""The ways into a session: short-lived, for that session alone, with the rights of today of whoever asked for them."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import sqlalchemy as sa

from builderos.core.clock import utcnow
from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.ids import new_id
from builderos.core.operations import Reply
from builderos.core.problems import Problem
from builderos.core.unit import Call, Unit, as_system, perform
from builderos.execution.runs import service as runs
from builderos.trust.identity import service as identity
from builderos.trust.ledger import service as ledger

from . import rows
from .model import tokens
from .schema import SessionActIn, SessionToken

Kind = Literal["link", "cookie"]
PREFIX: Final = "bos_wb_"
LIFE: Final = timedelta(minutes=15)
LONGEST: Final = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class Admission:
    """Who is let into which session. `fresh`: a browser has not followed this link yet."""

    org_id: str
    session_id: str
    token_id: str
    kind: Kind
    expires_at: datetime
    fresh: bool


def issue(unit: Unit, body: SessionActIn) -> Reply[SessionToken]:
    """A token for a session, for the header of a program or once for a browser.

    Raises `not_found`, `illegal_transition` where the session is over, `unavailable` where it has no address yet.
    """
    row = rows.find(unit, body.id)
    decision = rows.require(unit, "session.use", row)
    if row.ended_at is not None:
        raise Problem(
            "illegal_transition", f"this session is {row.status}", hint="Start it again.", allowed=[]
        )
    if row.url is None:
        raise Problem(
            "unavailable", "this session cannot be reached yet", hint="Wait until it runs.", retry_after_s=1
        )
    secret = _new(unit, row.id, "link", runs.actor_json(unit.actor), unit.now + LIFE)
    ledger.record(unit, "session.opened", row.id, rows.payload_of(row), rules=decision.rules)
    url = f"{row.url}?token={secret}"
    return Reply(201, SessionToken(id=row.id, token=secret, url=url, expires_at=unit.now + LIFE))


def admit(context: Context, secret: str, *, is_in: bool = False) -> Admission:
    """Whom a token lets in. Blocks. Raises `token_invalid`, `token_expired`, `policy_denied`.

    `is_in`: somebody came in with it before it was over, and is there still.
    """
    found = _found(context, secret)
    if found is None:
        raise Problem("token_invalid", "this token is not known", hint="Ask for another one.")
    org_id, id_, session_id, kind, actor, expires_at, used_at = found
    if expires_at <= utcnow() and not is_in:
        raise Problem("token_expired", "this token is over", hint="Ask for another one.")

    still = as_system(context, org_id, lambda unit: rows.still(unit, runs.actor_of(actor)), read_only=True)

    def look(unit: Unit) -> datetime:
        rows.require(unit, "session.use", rows.find(unit, session_id))
        return _longer(unit, id_, kind, expires_at)

    call = Call(actor=still, presented="valid", request_id=new_id("req"), tool="openSession", door="session")
    until = perform(context, call, look)
    return Admission(org_id, session_id, id_, kind, until, used_at is None)


def exchanged(context: Context, admission: Admission, secret: str) -> tuple[str, datetime] | None:
    """A browser's own token for the link that it followed; None where somebody has followed it before. Blocks."""
    found = _found(context, secret)
    if found is None or admission.kind != "link":
        return None

    def swap(unit: Unit) -> tuple[str, datetime] | None:
        c = tokens.c
        used = (
            sa.update(tokens).where(c.id == admission.token_id, c.used_at.is_(None)).values(used_at=unit.now)
        )
        if unit.execute(used).rowcount != 1:
            return None
        return _new(unit, admission.session_id, "cookie", found[4], unit.now + LIFE), unit.now + LONGEST

    return as_system(context, admission.org_id, swap)


def _found(context: Context, secret: str) -> tuple[Any, ...] | None:
    if not secret.startswith(PREFIX) or len(secret) > 100 or not secret.isascii():
        return None
    hashed = context.get(identity.Hasher)(secret)
    asked = context.get(Database).ask("select * from ops.session_token(%s)", (hashed,))
    return asked[0] if asked else None


def _longer(unit: Unit, id_: str, kind: str, expires_at: datetime) -> datetime:
    """A browser's token lasts as long as it is used, half a day at most."""
    if kind != "cookie" or expires_at - unit.now > LIFE / 2:
        return expires_at
    c = tokens.c
    longest = sa.select(c.created_at).where(c.id == id_)
    until = min(unit.now + LIFE, unit.execute(longest).scalar_one() + LONGEST)
    unit.execute(sa.update(tokens).where(c.id == id_).values(expires_at=until))
    return until


def _new(unit: Unit, session_id: str, kind: Kind, actor: dict[str, Any], expires_at: datetime) -> str:
    secret = PREFIX + identity.random_text()
    unit.execute(sa.insert(tokens).values(
        id=new_id("tok"), org_id=unit.org_id, session_id=session_id, hash=unit.get(identity.Hasher)(secret), kind=kind,
        actor=actor, created_at=unit.now, expires_at=expires_at,
    ))  # fmt: skip
    return secret


def inner() -> str:
    """What the server of a session asks of whoever calls; it never leaves this process and the jail."""
    return secrets.token_urlsafe(32)
