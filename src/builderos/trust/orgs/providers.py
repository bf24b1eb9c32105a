"""Providers at which the members of one organisation sign in; its owners choose and trust them.

Nobody learns from this server which organisations have one: its id is a random one, which the organisation hands on in
the address of its own page of signing in. Only a provider that its owner lists stands on the page for everybody.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import sqlalchemy as sa

from builderos.core.database import Database
from builderos.core.dialing import networks_of, target_of
from builderos.core.ids import is_id, new_id
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy
from builderos.trust.secrets.service import Keyring

from . import schema, sessions
from .clients import plain_name
from .members import resource
from .model import identity_providers
from .ports import Connection

MOST: Final = 10


@dataclass(frozen=True)
class Listed:
    """A provider that everybody may see."""

    id: str
    label: str


def create(unit: Unit, body: schema.ProviderIn) -> schema.Provider:
    """Let members sign in at a provider. Raises `validation_failed`, `quota_exceeded`."""
    decision = _managed(unit, "new")
    sessions.by_oneself(unit)
    issuer = _issuer(unit, body.issuer)
    _check_joining(body.domains, body.join_role)
    if len(unit.execute(_live()).all()) >= MOST:
        raise Problem(
            "quota_exceeded", f"an organisation has at most {MOST} providers", hint="Remove one first.",
            limit=MOST, used=MOST, resets_at=None, name="providers",
        )  # fmt: skip
    id_ = new_id("idp")
    sealed = _sealed(unit, id_, body.client_secret)
    values: dict[str, Any] = {
        "label": plain_name(body.label) or "Single sign-on", "issuer": issuer, "client_id": body.client_id,
        "domains": sorted(set(body.domains)), "join_role": body.join_role, "listed": body.listed,
    }  # fmt: skip
    row = unit.execute(
        sa.insert(identity_providers)
        .values(
            id=id_,
            org_id=unit.org_id,
            sealed=sealed,
            created_by=unit.actor.id,
            created_at=unit.now,
            **values,
        )
        .returning(identity_providers)
    ).one()
    ledger.record(unit, "provider.created", id_, values, rules=decision.rules)
    return _shown(unit, row)


def listed(unit: Unit, _body: schema.Nothing) -> schema.ProviderList:
    """The organisation's providers, oldest first."""
    _managed(unit, "list")
    rows = unit.execute(_live().order_by(identity_providers.c.id))
    return schema.ProviderList(items=[_shown(unit, row) for row in rows])


def change(unit: Unit, body: schema.ProviderChangeIn) -> schema.Provider:
    """Change what is sent of a provider, e.g. give it a new secret; issuer and address of signing in stay.

    Raises `validation_failed`, `not_found`.
    """
    decision = _managed(unit, body.id)
    sessions.by_oneself(unit)
    c = identity_providers.c
    row = unit.execute(_live().where(c.id == body.id).with_for_update()).one_or_none()
    if row is None:
        raise _gone()
    sent: dict[str, Any] = body.model_dump(
        exclude_unset=True, include={"label", "client_id", "domains", "join_role", "listed"}
    )
    changes = {name: value for name, value in sent.items() if value is not None or name == "join_role"}
    if body.label is not None:
        changes["label"] = plain_name(body.label) or row.label
    changes["domains"] = sorted(set(row.domains if body.domains is None else body.domains))
    _check_joining(changes["domains"], changes.get("join_role", row.join_role))
    told = {**changes, "secret_changed": body.client_secret is not None}
    if body.client_secret is not None:
        changes["sealed"] = _sealed(unit, body.id, body.client_secret)
    wanted = sa.update(identity_providers).where(c.id == body.id).values(changes)
    row = unit.execute(wanted.returning(identity_providers)).one()
    ledger.record(unit, "provider.changed", body.id, told, rules=decision.rules)
    return _shown(unit, row)


def remove(unit: Unit, body: schema.Which) -> schema.Gone:
    """Let nobody sign in there any more. Who is signed in stays so until the session ends."""
    decision = _managed(unit, body.id)
    c = identity_providers.c
    wanted = sa.update(identity_providers).where(c.id == body.id, c.removed_at.is_(None))
    if not unit.execute(wanted.values(removed_at=unit.now, sealed=None, listed=False)).rowcount:
        raise _gone()
    ledger.record(unit, "provider.removed", body.id, {}, rules=decision.rules)
    return schema.Gone(id=body.id, message="Nobody can sign in there any more.")


def connection(unit: Unit, id_: str) -> Connection:
    """What it takes to sign in at one of the unit's organisation. Raises `not_found`."""
    row = unit.execute(_live().where(identity_providers.c.id == id_)).one_or_none()
    if row is None:
        raise unknown()
    secret: str | None = None
    if row.sealed is not None:
        secret = unit.get(Keyring).box(unit).open(bytes(row.sealed), _purpose(row.id)).decode()
    return Connection(row.id, row.issuer, row.client_id, secret, tuple(row.domains), row.join_role)


def label_of(unit: Unit, id_: str) -> str:
    """How a provider of the unit's organisation is called. Raises `not_found`."""
    row = unit.execute(_live().where(identity_providers.c.id == id_)).one_or_none()
    if row is None:
        raise unknown()
    return str(row.label)


def organisation_of(database: Database, id_: str) -> str:
    """Whose provider that is, before any unit is open. Raises `not_found`."""
    if not is_id(id_, "idp"):
        raise unknown()
    with database.connection() as conn:
        row = conn.execute("select ops.org_of_provider(%s)", (id_,)).fetchone()
    if row is None or row[0] is None:
        raise unknown()
    return str(row[0])


def for_everybody(database: Database) -> list[Listed]:
    """The providers that their owners list."""
    with database.connection() as conn:
        rows = conn.execute("select id, label from ops.listed_providers()").fetchall()
    return [Listed(*row) for row in rows]


def unknown() -> Problem:
    """One answer for every id that leads to no provider."""
    return Problem("not_found", "there is no such provider to sign in at", hint="Check the address.")


def _check_joining(domains: Sequence[str], join_role: str | None) -> None:
    if join_role is not None and not domains:
        raise Problem(
            "validation_failed", "whoever joins without an invite is known by the domain of the address",
            hint="Name the domains, or leave join_role out.",
        )  # fmt: skip


def _sealed(unit: Unit, id_: str, secret: str | None) -> bytes | None:
    """The secret under the organisation's own key: it goes with the organisation."""
    return unit.get(Keyring).box(unit).seal(secret.encode(), _purpose(id_)) if secret else None


def _purpose(id_: str) -> str:
    return f"oidc|{id_}"


def _gone() -> Problem:
    return Problem("not_found", "there is no such provider", hint="List the providers first.")


def _managed(unit: Unit, id_: str) -> policy.Decision:
    # Who chooses the provider chooses who is let in, as whom: that is as much as an owner may do.
    return policy.require(unit, "member.manage", resource(unit, id_, "org_owner"))


def _issuer(unit: Unit, issuer: str) -> str:
    """The issuer, where this server may dial it on an owner's word (SSRF)."""
    target_of(issuer, networks_of(unit.settings.oidc_networks))
    if urlsplit(issuer).query or "?" in issuer:
        raise Problem("validation_failed", "an issuer has no query", hint="Leave out what follows the ?.")
    return issuer


def _live() -> sa.Select[Any]:
    return sa.select(identity_providers).where(identity_providers.c.removed_at.is_(None))


def _shown(unit: Unit, row: sa.Row[Any]) -> schema.Provider:
    return schema.Provider(
        id=row.id, label=row.label, issuer=row.issuer, client_id=row.client_id, domains=list(row.domains),
        join_role=row.join_role, listed=row.listed, created_at=row.created_at,
        sign_in_url=f"{unit.settings.address}/sign-in?provider={row.id}",
    )  # fmt: skip
