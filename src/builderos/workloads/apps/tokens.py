"""The ways into an app: short-lived, for that app alone, with the rights of today of whoever asked for them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from builderos.core.actor import Actor
from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.ids import new_id
from builderos.core.operations import Reply
from builderos.core.problems import Problem
from builderos.core.unit import Call, Unit, as_system, perform
from builderos.execution.runs import service as runs
from builderos.execution.serving import service as serving
from builderos.trust.audit import service as audit
from builderos.trust.identity import service as identity
from builderos.trust.policy import service as policy

from . import reading, rows
from .model import tokens
from .schema import AppToken, OpenIn

PASSES: Final = serving.Passes("bos_ap_", tokens, "app_id", "select * from ops.app_token(%s)")


@dataclass(frozen=True, slots=True)
class Admission:
    """Who is let into which app. The app is told `actor` and `role`, and nothing else of them."""

    org_id: str
    app_id: str
    token_id: str
    kind: serving.Kind
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
    secret, until = PASSES.add(unit, row.id, "link", runs.actor_json(unit.actor))
    audit.access.note(unit, "app.open", row.id)
    path, _, query = body.path.partition("?")
    more = f"{query}&token={secret}" if query else f"token={secret}"
    where = f"{url.removesuffix('/')}{path}?{more}"
    return Reply(201, AppToken(id=row.id, token=secret, url=where, expires_at=until))


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
    found = PASSES.find(context, secret)
    still = as_system(context, found.org_id, lambda unit: _still(unit, found.actor), read_only=True)

    def look(unit: Unit) -> datetime:
        check(unit, rows.find(unit, found.of))
        return PASSES.longer(unit, found)

    call = Call(actor=still, presented="valid", request_id=new_id("req"), tool="openApp", door="app")
    until = perform(context, call, look)
    return Admission(found.org_id, found.of, found.id, found.kind, until, still.id, still.role)


def _still(unit: Unit, kept: dict[str, Any]) -> Actor:
    actor = runs.actor_of(kept)
    if actor.credential_id is None:
        return actor
    found = identity.still(unit, actor)
    if found is None:
        raise Problem("token_invalid", "whoever asked for this token may act no more", hint="Sign in again.")
    return found
