"""The ways into an app: short-lived, for that app alone, with the rights of today of whoever asked for them."""

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
from builderos.trust.audit import service as audit
from builderos.trust.identity import service as identity
from builderos.trust.policy import service as policy

from . import reading, rows
from .model import tokens
from .schema import AppToken, OpenIn

Kind = Literal["link", "cookie"]
PREFIX: Final = "bos_ap_"
LIFE: Final = timedelta(minutes=15)
LONGEST: Final = timedelta(hours=12)
_MOST: Final = 1000  # tokens of one app at a time


@dataclass(frozen=True, slots=True)
class Admission:
    """Who is let into which app. The app is told `actor` and `role`, and nothing else of them."""

    org_id: str
    app_id: str
    token_id: str
    kind: Kind
    expires_at: datetime
    actor: str
    role: str


@dataclass(frozen=True, slots=True)
class AtDoor:
    """What may be known of an app before anybody has shown anything."""

    org_id: str
    open_to_all: bool


def at_door(context: Context, app_id: str) -> AtDoor | None:
    """An app that is active; None where there is none. Blocks."""
    found = context.get(Database).ask("select * from ops.app_at_door(%s)", (app_id,))
    return AtDoor(str(found[0][0]), bool(found[0][1])) if found else None


def issue(unit: Unit, body: OpenIn) -> Reply[AppToken]:
    """A token for an app, for the header of a program or once for a browser.

    Raises `not_found`, `policy_denied`, `illegal_transition` where it is stopped, `unavailable` without an address.
    """
    policy.require(unit, "app.open", policy.org_resource(unit))  # first: whoever may open none learns of none
    row = rows.find(unit, body.id)
    check(unit, row)
    if row.state != "active":
        raise Problem("illegal_transition", f"this app is {row.state}", hint="Start it.", allowed=[])
    url = reading.url_of(unit, row)
    if url is None:
        raise Problem(
            "unavailable", "apps have no addresses of their own on this server",
            hint="Set BUILDEROS_PROXY_URL=https://*.apps.example.com.",
        )  # fmt: skip
    secret = _new(unit, row.id, "link", runs.actor_json(unit.actor), unit.now + LIFE)
    audit.access.note(unit, "app.open", row.id)
    path, _, query = body.path.partition("?")
    more = f"{query}&token={secret}" if query else f"token={secret}"
    where = f"{url.removesuffix('/')}{path}?{more}"
    return Reply(201, AppToken(id=row.id, token=secret, url=where, expires_at=unit.now + LIFE))


def check(unit: Unit, row: rows.Row) -> None:
    """Whether the actor may open an app. Raises `Refused`, `policy_denied`."""
    rules = policy.require(unit, "app.open", policy.org_resource(unit)).rules
    actor, own = unit.actor, row.policy
    named = {actor.id, actor.member_id, actor.credential_id}
    narrow = own["open"] == "org"
    if narrow and (
        (own["roles"] and actor.role not in own["roles"])
        or (own["actors"] and named.isdisjoint(own["actors"]))
    ):
        raise Problem(
            "policy_denied", "the policy of this app does not let you open it",
            hint="Whoever manages it names roles and actors that may.", rules=list(rules),
        )  # fmt: skip


def admit(context: Context, secret: str) -> Admission:
    """Whom a token lets in. Blocks. Raises `token_invalid`, `token_expired`, `policy_denied`."""
    found = _found(context, secret)
    if found is None:
        raise Problem("token_invalid", "this token is not known", hint="Ask for another one.")
    org_id, id_, app_id, kind, actor, expires_at, _ = found
    if expires_at <= utcnow():
        raise Problem("token_expired", "this token is over", hint="Ask for another one.")
    still = as_system(context, org_id, lambda unit: _still(unit, actor), read_only=True)

    def look(unit: Unit) -> datetime:
        check(unit, rows.find(unit, app_id))
        return _longer(unit, id_, kind, expires_at)

    call = Call(actor=still, presented="valid", request_id=new_id("req"), tool="openApp", door="app")
    until = perform(context, call, look)
    return Admission(org_id, app_id, id_, kind, until, still.id, still.role)


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
        return _new(unit, admission.app_id, "cookie", found[4], unit.now + LIFE), unit.now + LONGEST

    return as_system(context, admission.org_id, swap)


def _found(context: Context, secret: str) -> tuple[Any, ...] | None:
    if not secret.startswith(PREFIX) or len(secret) > 100 or not secret.isascii():
        return None
    hashed = context.get(identity.Hasher)(secret)
    asked = context.get(Database).ask("select * from ops.app_token(%s)", (hashed,))
    return asked[0] if asked else None


def _still(unit: Unit, kept: dict[str, Any]) -> Any:
    actor = runs.actor_of(kept)
    if actor.credential_id is None:
        return actor
    found = identity.still(unit, actor)
    if found is None:
        raise Problem("token_invalid", "whoever asked for this token may act no more", hint="Sign in again.")
    return found


def _longer(unit: Unit, id_: str, kind: str, expires_at: datetime) -> datetime:
    """A browser's token lasts as long as it is used, half a day at most."""
    if kind != "cookie" or expires_at - unit.now > LIFE / 2:
        return expires_at
    c = tokens.c
    until = min(
        unit.now + LIFE, unit.execute(sa.select(c.created_at).where(c.id == id_)).scalar_one() + LONGEST
    )
    unit.execute(sa.update(tokens).where(c.id == id_).values(expires_at=until))
    return until


def _new(unit: Unit, app_id: str, kind: Kind, actor: dict[str, Any], expires_at: datetime) -> str:
    c = tokens.c
    unit.execute(sa.delete(tokens).where(c.app_id == app_id, c.expires_at < unit.now))
    count = unit.execute(sa.select(sa.func.count()).where(c.app_id == app_id)).scalar_one()
    if count >= _MOST:
        raise Problem(
            "quota_exceeded", f"{count} ways into this app are open; the limit is {_MOST}",
            hint="Wait until some are over.", limit=_MOST, used=count,
        )  # fmt: skip
    secret = PREFIX + identity.random_text()
    unit.execute(sa.insert(tokens).values(
        id=new_id("tok"), org_id=unit.org_id, app_id=app_id, hash=unit.get(identity.Hasher)(secret), kind=kind,
        actor=actor, created_at=unit.now, expires_at=expires_at,
    ))  # fmt: skip
    return secret
