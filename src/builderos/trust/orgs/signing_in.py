"""Signing in: a mailed link or a provider's word becomes a browser session of a member.

Either way begins in one browser and ends in the same: its cookie holds a nonce of which the server keeps the hash.
"""

import base64
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal

import sqlalchemy as sa

from builderos.core.actor import MemberRole
from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.core.unit import Unit
from builderos.engine import outbox
from builderos.trust.identity import service as identity
from builderos.trust.ledger import service as ledger
from builderos.trust.secrets.service import Box

from . import grants, invites, providers, schema, sessions
from .model import identities, people, sign_ins
from .ports import Connection, Errand, Person

LIFE: Final = timedelta(minutes=15)
LINK: Final = "bos_ml_"
MAIL: Final = "mail.sign_in"
Kind = Literal["link", "oidc", "open"]
MAX_LINKS: Final = 5  # mails to one address within LIFE: nobody's inbox is flooded in our name


@dataclass(frozen=True)
class Begun:
    """A fresh browser session; `cookie` is its secret."""

    session_id: str
    cookie: str
    member_id: str
    role: str


def send_link(unit: Unit, email: str, browser: str) -> None:
    """Mail a link to a member. For any other address exactly the same is done, but for the mail."""
    wanted = sa.select(people.c.member_id).where(people.c.email == email.lower())
    member_id = unit.execute(wanted).scalar_one_or_none()
    c = sign_ins.c
    recent = sa.select(sa.func.count()).where(
        c.member_id == (member_id or ""), c.created_at > unit.now - LIFE
    )
    sent = unit.execute(recent).scalar_one()
    welcome = member_id is not None and sent < MAX_LINKS
    secret = LINK + identity.random_text()
    hash_ = unit.get(identity.Hasher)(secret)
    remember(unit, "link", secret, browser, member_id=member_id)
    letter = json.dumps({"to": email if welcome else "", "secret": secret})
    sealed = unit.get(Box).seal(letter.encode(), MAIL)
    outbox.put(unit, MAIL, hash_.hex(), {"sealed": base64.b64encode(sealed).decode()})


def letter_of(context: Context, message: outbox.Message) -> tuple[str, str, str] | None:
    """Address, subject and text of a mail that waits in the outbox; None where nobody is written to."""
    opened = context.get(Box).open(base64.b64decode(message.payload["sealed"]), MAIL)
    letter: dict[str, str] = json.loads(opened)
    if not letter["to"]:
        return None
    address = f"{public_url(context.get(Settings))}/sign-in#{letter['secret']}"
    text = (
        f"Open this link in the browser in which you asked for it, within 15 minutes:\n\n{address}\n\n"
        "If you did not ask for it, do nothing: without your browser it opens nothing.\n"
    )
    return letter["to"], "Your link to sign in", text


def follow_link(unit: Unit, secret: str, browser: str) -> Begun:
    """Use a link up. Raises `token_invalid`, the same for a used, old, unknown or carried-off one."""
    row = take(unit, "link", secret, browser)
    if row.member_id is None:
        raise _refused()
    return begin(unit, identity.members.find(unit, row.member_id), "link")


def send_away(unit: Unit, errand: Errand, browser: str, provider_id: str | None = None) -> None:
    """Remember a browser that goes to a provider: the server's own, or one of the organisation."""
    secrets = json.dumps([errand.nonce, errand.verifier]).encode()
    sealed = unit.get(Box).seal(secrets, f"oidc|{errand.state}")
    remember(unit, "oidc", errand.state, browser, sealed=sealed, provider_id=provider_id)


def come_back(unit: Unit, state: str, browser: str) -> tuple[Errand, Connection | None]:
    """The errand of a browser that comes back, for one use, and the organisation's provider where it was at one.

    Raises `token_invalid`, `not_found` for a provider that was removed meanwhile.
    """
    row = take(unit, "oidc", state, browser)
    nonce, verifier = json.loads(unit.get(Box).open(row.sealed, f"oidc|{state}"))
    at = providers.connection(unit, row.provider_id) if row.provider_id is not None else None
    return Errand(state, nonce, verifier), at


def welcome(unit: Unit, person: Person, at: Connection | None = None) -> Begun:
    """Sign in the member whom a provider names.

    Known by the provider's own id; the first time by a verified address, which may also accept an open invite, or join
    where the organisation's own provider `at` lets its domains in. Raises `policy_denied` for everybody else.
    """
    if at is not None and at.domains and _domain(person) not in at.domains:
        raise _stranger()
    c = identities.c
    known = sa.select(c.member_id).where(c.issuer == person.issuer, c.subject == person.subject)
    member_id = unit.execute(known).scalar_one_or_none()
    if member_id is None:
        member_id = _first_time(unit, person, at)
        unit.add(
            identities, org_id=unit.org_id, issuer=person.issuer, subject=person.subject, member_id=member_id
        )
    return begin(unit, identity.members.find(unit, member_id), "oidc")


def _first_time(unit: Unit, person: Person, at: Connection | None) -> str:
    if person.email is not None:
        wanted = sa.select(people.c.member_id).where(people.c.email == person.email)
        member_id = unit.execute(wanted).scalar_one_or_none()
        if member_id is not None:
            return member_id
        invite = invites.open_for(unit, person.email)
        if invite is not None:
            member = invites.join(unit, invite, person.name)
            ledger.record(unit, "member.joined", member.id, {"invite": invite.id, "role": member.role})
            return member.id
        if at is not None and at.join_role is not None:
            return _joined(unit, person, person.email, at, at.join_role)
    raise _stranger()


def _joined(unit: Unit, person: Person, email: str, at: Connection, role: MemberRole) -> str:
    """Make somebody a member whom the organisation's provider vouches for."""
    member = identity.members.add(unit, role)
    unit.add(people, member_id=member.id, org_id=unit.org_id, email=email, name=person.name)
    ledger.record(unit, "member.joined", member.id, {"provider": at.id, "role": role})
    return member.id


def _domain(person: Person) -> str:
    return (person.email or "").rpartition("@")[2]


def _stranger() -> Problem:
    return Problem(
        "policy_denied", "nobody in this organisation has that verified address",
        hint="Ask an owner or admin of the organisation for an invite.",
    )  # fmt: skip


def accept_invite(unit: Unit, body: schema.AcceptIn) -> Begun:
    """Become a member in a browser: the unit acts for the invite. Raises as `invites.accept`."""
    return begin(unit, invites.used_up(unit, body), "invite")


def public_url(settings: Settings) -> str:
    """The address that links begin with; never taken from a request, whose Host anybody chooses."""
    if settings.public_url is not None:
        return settings.public_url.rstrip("/")
    return f"http://{settings.host}:{settings.port}"


def sweep(unit: Unit) -> int:
    """Forget sign-ins, codes and programs that are over; returns how many sign-ins."""
    grants.sweep(unit)
    sessions.sweep(unit)
    return unit.execute(sa.delete(sign_ins).where(sign_ins.c.expires_at < unit.now - LIFE)).rowcount


def remember(unit: Unit, kind: Kind, secret: str, browser: str, life: timedelta = LIFE, **more: Any) -> None:
    """Keep a sign-in on its way: of its secret, and of the browser that it began in, the hashes."""
    hasher = unit.get(identity.Hasher)
    unit.add(
        sign_ins, hash=hasher(secret), org_id=unit.org_id, kind=kind, browser=hasher(browser),
        created_at=unit.now, expires_at=unit.now + life, **more,
    )  # fmt: skip


def take(unit: Unit, kind: Kind, secret: str, browser: str) -> sa.Row[Any]:
    """The sign-in on its way, used up. A wrong browser uses nothing up: the right one may still come.

    Raises `token_invalid`, the same for whatever else is wrong with it.
    """
    hasher, c = unit.get(identity.Hasher), sign_ins.c
    row = unit.execute(
        sa.update(sign_ins)
        .where(c.hash == hasher(secret), c.kind == kind, c.browser == hasher(browser))
        .where(c.used_at.is_(None), c.expires_at > unit.now)
        .values(used_at=unit.now)
        .returning(c.member_id, c.sealed, c.provider_id)
    ).one_or_none()
    if row is None:
        raise _refused()
    return row


def begin(
    unit: Unit,
    member: identity.members.Member,
    method: sessions.Method,
    scopes: tuple[str, ...] = identity.EVERY_SCOPE,
) -> Begun:
    """A browser session of a member, with its cookie."""
    session_id = sessions.open_(unit, member, method)
    cookie = identity.issue(
        unit, "cookie", actor_name=member.label, actor_id=member.id, profile="full", scopes=scopes,
        label="browser", expires_at=unit.now + sessions.IDLE, member_id=member.id, session_id=session_id,
    )  # fmt: skip
    return Begun(session_id, cookie.secret, member.id, member.role)


def _refused() -> Problem:
    return Problem(
        "token_invalid", "this sign-in was used, is too old, or began in another browser",
        hint="Begin again in this browser.",
    )  # fmt: skip
