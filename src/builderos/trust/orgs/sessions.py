"""Sessions: who signed in gets a short access token and a refresh token that is good for one use.

A refresh token that comes a second time was stolen, or its answer was: the session ends (RFC 9700, 4.14.2).
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal

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
from .ports import Alarm

ACCESS: Final = timedelta(minutes=15)
IDLE: Final = timedelta(days=14)
REFRESH: Final = "bos_rf_"
CLI: Final = "builderos-cli"  # the program that comes with us: it is the member's own hand
Method = Literal["invite", "link", "oidc", "code", "device", "open"]


@dataclass(frozen=True)
class Grant:
    """What a member let a program do: with which part of the own role, and at which part of this server."""

    client_id: str
    scopes: tuple[str, ...]
    audience: str


def begin(
    unit: Unit, member: identity.members.Member, method: Method, grant: Grant | None = None
) -> schema.Tokens:
    """A new session of a member, for a program: a pair of tokens."""
    scopes = grant.scopes if grant is not None else identity.EVERY_SCOPE
    return _pair(unit, open_(unit, member, method, grant), member, scopes, "You are signed in.")


def open_(unit: Unit, member: identity.members.Member, method: Method, grant: Grant | None = None) -> str:
    """The row of a new session; returns its id."""
    id_ = new_id("ses")
    granted: dict[str, Any] = {}
    if grant is not None:
        granted = {"client_id": grant.client_id, "scopes": list(grant.scopes), "audience": grant.audience}
    unit.execute(
        sa.insert(sessions).values(
            id=id_, org_id=unit.org_id, member_id=member.id, method=method, created_at=unit.now,
            used_at=unit.now, expires_at=unit.now + IDLE, **granted,
        )
    )  # fmt: skip
    ledger.record(unit, "session.started", id_, {"member": member.id, "method": method, **granted})
    return id_


def _pair(
    unit: Unit, session_id: str, member: identity.members.Member, scopes: tuple[str, ...], message: str
) -> schema.Tokens:
    access = identity.issue(
        unit, "access", actor_name=member.label, actor_id=member.id, profile="full", scopes=scopes,
        label="access token", expires_at=unit.now + ACCESS, member_id=member.id, session_id=session_id,
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

    Raises `token_invalid`, also for a token that a member gave a program: that one has to prove who it is.
    """
    row, member = _rotated(unit, secret, None)
    return _pair(unit, row.id, member, identity.EVERY_SCOPE, "Here is the next pair.")


def refresh_for(
    unit: Unit, secret: str, client_id: str, wanted: str | None, audience: str | None
) -> tuple[schema.Tokens, tuple[str, ...]]:
    """The next pair of a program's session and its scopes: those that were given, or the `wanted` ones of them.

    Raises `token_invalid`; `validation_failed` for scopes or an `audience` that were not given.
    """
    row, member = _rotated(unit, secret, client_id)
    given = tuple(row.scopes or ())
    scopes = tuple(s for s in given if s in wanted.split()) if wanted else given
    if (wanted and set(wanted.split()) != set(scopes)) or audience not in (None, row.audience):
        raise Problem("validation_failed", "that was not given to this program", hint="Ask for less.")
    return _pair(unit, row.id, member, scopes, "Here is the next pair."), scopes


def _rotated(unit: Unit, secret: str, client_id: str | None) -> tuple[sa.Row[Any], identity.members.Member]:
    """The session of a refresh token and its member; the token is used up.

    A token that was used before ends its session, which survives the refusal: somebody else has had it.
    """
    c = refresh_tokens.c
    wanted = (
        sa.select(c.hash, c.used_at, sessions)
        .join(sessions, sessions.c.id == c.session_id)
        .where(c.hash == unit.get(identity.Hasher)(secret))
        .with_for_update()
    )
    row = unit.execute(wanted).one_or_none()
    if row is None or row.ended_at is not None or row.expires_at <= unit.now or row.client_id != client_id:
        raise over()
    if row.used_at is not None:
        unit.keep(lambda kept: stolen(kept, row.id, "refresh token used twice"))
        raise over()
    member = identity.members.find(unit, row.member_id)  # whose end has ended the session, too
    unit.execute(sa.update(refresh_tokens).where(c.hash == row.hash).values(used_at=unit.now))
    moved = {"used_at": unit.now, "expires_at": unit.now + IDLE}
    unit.execute(sa.update(sessions).where(sessions.c.id == row.id).values(moved))
    return row, member


def stolen(unit: Unit, session_id: str, why: str) -> None:
    """End a session whose secret somebody else has had, and alert whoever looks after the organisation."""
    if end(unit, session_id, why):
        unit.get(Alarm).sound(unit, "token_abuse", session_id, {"why": why})


def organisation_of(database: Database, hasher: identity.Hasher, secret: str) -> str | None:
    """The organisation of a refresh token or a sign-in on its way, before any unit is open."""
    with database.connection() as conn:
        row = conn.execute("select ops.org_of_secret(%s)", (hasher(secret),)).fetchone()
    return str(row[0]) if row is not None and row[0] is not None else None


def organisation_of_access(database: Database, hasher: identity.Hasher, secret: str) -> str | None:
    """The organisation of an access token, live or not."""
    return identity.authenticate(database, hasher, secret).org_id


def end(unit: Unit, session_id: str, why: str) -> bool:
    """End a session: its access tokens and cookies are worthless from the commit on. False where it had ended."""
    c = sessions.c
    wanted = sa.update(sessions).where(c.id == session_id, c.ended_at.is_(None))
    if not unit.execute(wanted.values(ended_at=unit.now, ended_why=why)).rowcount:
        return False
    ledger.record(unit, "session.ended", session_id, {"why": why})
    return True


def end_of(unit: Unit, credential_id: str) -> None:
    """End the session that a credential belongs to; the owner's browser has none, there the credential ends."""
    session_id = identity.session_of(unit, credential_id)
    if session_id is not None:
        end(unit, session_id, "signed out")
    elif identity.revoke(unit, credential_id=credential_id):
        ledger.record(unit, "credential.revoked", credential_id, {"why": "signed out"})


def end_all(unit: Unit, member_id: str, why: str) -> None:
    """End every session of a member."""
    _end_where(unit, sessions.c.member_id == member_id, why)


def end_of_client(unit: Unit, client_id: str, why: str) -> None:
    """End every session that members of the organisation gave a program."""
    _end_where(unit, sessions.c.client_id == client_id, why)


def _end_where(unit: Unit, condition: sa.ColumnElement[bool], why: str) -> None:
    rows = (
        unit.execute(sa.select(sessions.c.id).where(condition, sessions.c.ended_at.is_(None))).scalars().all()
    )
    for id_ in rows:
        end(unit, id_, why)


def of_secret(unit: Unit, secret: str, client_id: str) -> str | None:
    """The session of a program that a refresh or access token of it belongs to."""
    hash_, c = unit.get(identity.Hasher)(secret), sessions.c
    of_refresh = sa.select(refresh_tokens.c.session_id).where(refresh_tokens.c.hash == hash_)
    found = unit.execute(of_refresh).scalar_one_or_none() or identity.session_of_secret(unit, secret)
    owned = sa.select(c.id).where(c.id == (found or ""), c.client_id == client_id)
    return unit.execute(owned).scalar_one_or_none()


def sweep(unit: Unit) -> None:
    """Forget access tokens of yesterday, and refresh tokens that no replay is told by any more."""
    identity.sweep_access(unit, unit.now - timedelta(days=1))
    over = sa.select(sessions.c.id).where(
        sa.or_(sessions.c.ended_at < unit.now - timedelta(days=1), sessions.c.expires_at < unit.now)
    )
    c = refresh_tokens.c
    unit.execute(sa.delete(refresh_tokens).where(sa.or_(c.session_id.in_(over), c.used_at < unit.now - IDLE)))


def by_oneself(unit: Unit) -> None:
    """Raise `policy_denied` for a service account, and where a program that does not come with us acts for a member.

    Neither makes credentials, which would outlive its own end, nor lets anybody in or changes what somebody may do:
    it could approve its own request through whom it made. It ends no membership and no organisation.
    """
    if (unit.actor.member_id or "").startswith("sva_"):
        raise Problem(
            "policy_denied", "a program does not do this: a person does",
            hint="Sign in yourself and do it there.", policy_rule="by-oneself",
        )  # fmt: skip
    session_id = identity.session_of(unit, unit.actor.credential_id or "")
    wanted = sa.select(sessions.c.client_id).where(sessions.c.id == (session_id or ""))
    if unit.execute(wanted).scalar_one_or_none() not in (None, CLI):
        raise Problem(
            "policy_denied", "a program that you let in does not do this in your name",
            hint="Sign in yourself and do it there.", policy_rule="by-oneself",
        )  # fmt: skip


def listed(unit: Unit, _body: schema.Nothing) -> schema.SessionList:
    """One's own sign-ins that have not ended, newest first."""
    policy.require(unit, "me.manage", policy.org_resource(unit))
    rows = unit.execute(_own(unit).order_by(sessions.c.id.desc()))
    return schema.SessionList(
        items=[
            schema.Session(
                id=row.id, method=row.method, created_at=row.created_at, used_at=row.used_at,
                expires_at=row.expires_at, client_id=row.client_id, scopes=row.scopes,
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
