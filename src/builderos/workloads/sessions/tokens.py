"""The ways into a session: short-lived, for that session alone, with the rights of today of whoever asked for them."""

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from builderos.core.context import Context
from builderos.core.ids import new_id
from builderos.core.operations import Reply
from builderos.core.problems import Problem
from builderos.core.unit import Call, Unit, as_system, perform
from builderos.execution.runs import service as runs
from builderos.execution.serving import service as serving
from builderos.trust.ledger import service as ledger

from . import rows
from .model import tokens
from .schema import SessionActIn, SessionToken

PASSES: Final = serving.Passes("bos_wb_", tokens, "session_id", "select * from ops.session_token(%s)")


@dataclass(frozen=True, slots=True)
class Admission:
    """Who is let into which session. `fresh`: a browser has not followed this link yet."""

    org_id: str
    session_id: str
    token_id: str
    kind: serving.Kind
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
    secret, until = PASSES.add(unit, row.id, "link", runs.actor_json(unit.actor))
    ledger.record(unit, "session.opened", row.id, rows.payload_of(row), rules=decision.rules)
    url = f"{row.url}?token={secret}"
    return Reply(201, SessionToken(id=row.id, token=secret, url=url, expires_at=until))


def admit(context: Context, secret: str, *, is_in: bool = False) -> Admission:
    """Whom a token lets in. Blocks. Raises `token_invalid`, `token_expired`, `policy_denied`.

    `is_in`: somebody came in with it before it was over, and is there still.
    """
    found = PASSES.find(context, secret, late=is_in)
    actor = runs.actor_of(found.actor)
    still = as_system(context, found.org_id, lambda unit: rows.still(unit, actor), read_only=True)

    def look(unit: Unit) -> datetime:
        rows.require(unit, "session.use", rows.find(unit, found.of))
        return PASSES.longer(unit, found)

    call = Call(actor=still, presented="valid", request_id=new_id("req"), tool="openSession", door="session")
    until = perform(context, call, look)
    return Admission(found.org_id, found.of, found.id, found.kind, until, found.used_at is None)


def inner() -> str:
    """What the server of a session asks of whoever calls; it never leaves this process and the jail."""
    return secrets.token_urlsafe(32)
