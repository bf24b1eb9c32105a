"""Sessions: who signed in gets a short access token and a refresh token that is good for one use.

A refresh token that comes a second time was stolen, or its answer was: the session ends (RFC 9700, 4.14.2).
"""

from datetime import timedelta
from typing import Final, Literal

import sqlalchemy as sa

from builderos.core.database import Database
from builderos.core.ids import new_id
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.identity import service as identity
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy

from . import schema
from .model import refresh_tokens, sessions

ACCESS: Final = timedelta(minutes=15)
IDLE: Final = timedelta(days=14)
REFRESH: Final = "bos_rf_"
Method = Literal["invite", "link", "oidc"]


def begin(unit: Unit, member: identity.members.Member, method: Method) -> schema.Tokens:
    """A new session of a member, for a program: a pair of tokens."""
    return _pair(unit, open_(unit, member, method), member, "You are signed in.")


def open_(unit: Unit, member: identity.members.Member, method: Method) -> str:
    """The row of a new session; returns its id."""
    id_ = new_id("ses")
    unit.execute(
        sa.insert(sessions).values(
            id=id_, org_id=unit.org_id, member_id=member.id, method=method, created_at=unit.now,
            used_at=unit.now, expires_at=unit.now + IDLE,
        )
    )  # fmt: skip
    ledger.record(unit, "session.started", id_, {"member": member.id, "method": method})
    return id_


def _pair(unit: Unit, session_id: str, member: identity.members.Member, message: str) -> schema.Tokens:
    access = identity.issue(
        unit, "access", actor_name=member.label, actor_id=member.id, profile="full",
        scopes=identity.EVERY_SCOPE, label="access token", expires_at=unit.now + ACCESS, member_id=member.id,
        session_id=session_id,
    )  # fmt: skip
    secret = REFRESH + identity.random_text()
    unit.add(
        refresh_tokens, hash=unit.get(identity.Hasher)(secret), org_id=unit.org_id, session_id=session_id,
        created_at=unit.now,
    )  # fmt: skip
    return schema.Tokens(
        session_id=session_id, access_token=access.secret, expires_in_s=int(ACCESS.total_seconds()),
        refresh_token=secret, member_id=member.id, role=member.role, org_slug=identity.org_slug(unit),
        message=message,
    )  # fmt: skip


def refresh(unit: Unit, secret: str) -> schema.Tokens:
    """The next pair of a session, for the door that knows the organisation of `secret`.

    Raises `token_invalid`; a token that was used before also ends its session, which survives the refusal.
    """
    c = refresh_tokens.c
    wanted = (
        sa.select(c.hash, c.used_at, sessions)
        .join(sessions, sessions.c.id == c.session_id)
        .where(c.hash == unit.get(identity.Hasher)(secret))
        .with_for_update()
    )
    row = unit.execute(wanted).one_or_none()
    if row is None or row.ended_at is not None or row.expires_at <= unit.now:
        raise over()
    if row.used_at is not None:
        unit.keep(lambda kept: end(kept, row.id, "refresh token used twice"))
        raise over()
    member = identity.members.find(unit, row.member_id)  # whose end has ended the session, too
    unit.execute(sa.update(refresh_tokens).where(c.hash == row.hash).values(used_at=unit.now))
    moved = {"used_at": unit.now, "expires_at": unit.now + IDLE}
    unit.execute(sa.update(sessions).where(sessions.c.id == row.id).values(moved))
    return _pair(unit, row.id, member, "Here is the next pair.")


def organisation_of(database: Database, hasher: identity.Hasher, secret: str) -> str | None:
    """The organisation of a refresh token or a sign-in on its way, before any unit is open."""
    with database.connection() as conn:
        row = conn.execute("select ops.org_of_secret(%s)", (hasher(secret),)).fetchone()
    return str(row[0]) if row is not None and row[0] is not None else None


def end(unit: Unit, session_id: str, why: str) -> None:
    """End a session: its access tokens and cookies are worthless from the commit on."""
    c = sessions.c
    wanted = sa.update(sessions).where(c.id == session_id, c.ended_at.is_(None))
    if unit.execute(wanted.values(ended_at=unit.now, ended_why=why)).rowcount:
        ledger.record(unit, "session.ended", session_id, {"why": why})


def end_of(unit: Unit, credential_id: str) -> None:
    """End the session that a credential belongs to."""
    session_id = identity.session_of(unit, credential_id)
    if session_id is not None:
        end(unit, session_id, "signed out")


def end_all(unit: Unit, member_id: str, why: str) -> None:
    """End every session of a member."""
    c = sessions.c
    rows = unit.execute(sa.select(c.id).where(c.member_id == member_id, c.ended_at.is_(None))).scalars().all()
    for id_ in rows:
        end(unit, id_, why)


def listed(unit: Unit, _body: schema.Nothing) -> schema.SessionList:
    """One's own sign-ins that have not ended, newest first."""
    policy.require(unit, "me.manage", policy.org_resource(unit))
    rows = unit.execute(_own(unit).order_by(sessions.c.id.desc()))
    return schema.SessionList(
        items=[
            schema.Session(
                id=row.id, method=row.method, created_at=row.created_at, used_at=row.used_at,
                expires_at=row.expires_at,
            )
            for row in rows
        ]
    )  # fmt: skip


def end_own(unit: Unit, body: schema.Which) -> schema.Gone:
    """Sign out of one of one's own sessions."""
    policy.require(unit, "me.manage", policy.org_resource(unit))
    if unit.execute(_own(unit).where(sessions.c.id == body.id)).first() is None:
        raise Problem("not_found", "there is no such session of yours", hint="List your sessions first.")
    end(unit, body.id, "signed out")
    return schema.Gone(id=body.id, message="Signed out.")


def _own(unit: Unit) -> sa.Select[tuple[object, ...]]:
    c = sessions.c
    return sa.select(sessions).where(
        c.member_id == unit.actor.member_id, c.ended_at.is_(None), c.expires_at > unit.now
    )


def over() -> Problem:
    """One answer for every token that does not carry a session on."""
    return Problem("token_invalid", "this session is over", hint="Sign in again.")
