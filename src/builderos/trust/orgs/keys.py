"""API keys: credentials for programs, with scopes."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from builderos.core.problems import Problem
from builderos.core.schema import In, Instant, Line, Out, WriteIn
from builderos.core.unit import Unit
from builderos.trust.identity import service as identity
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource

from . import sessions

Scope = Literal["read", "write", "promote", "approve", "admin"]


class KeyIn(WriteIn):
    """What the key is for, and what it may do."""

    label: Annotated[Line, Field(description="What it is for.", min_length=1)]
    scopes: Annotated[list[Scope], Field(description="What it may do.", min_length=1, max_length=20)]
    expires_at: Instant | None = None


class NewKey(Out):
    """A fresh key; `api_key` is shown only here."""

    id: str
    api_key: str
    label: str
    scopes: list[str]
    expires_at: datetime | None
    message: str


class Key(Out):
    """A key without its secret."""

    id: str
    label: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None


class KeyListIn(In):
    """Nothing to filter: keys are few."""


class KeyList(Out):
    """All live keys."""

    items: list[Key]
    next_cursor: str | None = None


class KeyRevokeIn(In):
    """Which key to end."""

    id: Line


class KeyRevoked(Out):
    """A key that has ended."""

    id: str
    message: str


def create_key(unit: Unit, body: KeyIn) -> NewKey:
    """Make an API key. Nobody gives away a scope that the own key lacks."""
    if body.expires_at is not None and body.expires_at <= unit.now:
        raise Problem(
            "validation_failed",
            "expires_at must lie in the future",
            hint="End it with Z.",
        )
    decision = policy.require(unit, "credential.create", _resource(unit, "new", frozenset(body.scopes)))
    sessions.by_oneself(unit)
    made = identity.issue(
        unit, "api_key", actor_name="api-key", profile="full", scopes=tuple(sorted(set(body.scopes))), label=body.label,
        expires_at=body.expires_at,
    )  # fmt: skip
    ledger.record(
        unit,
        "credential.created",
        made.id,
        {"kind": "api_key", "scopes": sorted(set(body.scopes))},
        rules=decision.rules,
    )
    return NewKey(
        id=made.id, api_key=made.secret, label=body.label, scopes=sorted(set(body.scopes)), expires_at=body.expires_at,
        message="Save the key now: it is not shown again.",
    )  # fmt: skip


def list_keys(unit: Unit, _body: KeyListIn) -> KeyList:
    """Live keys, oldest first."""
    policy.require(unit, "org.read", policy.org_resource(unit))
    return KeyList(items=[Key(**row) for row in identity.list_credentials(unit, "api_key")])


def revoke_key(unit: Unit, body: KeyRevokeIn) -> KeyRevoked:
    """End a key at once."""
    decision = policy.require(unit, "credential.revoke", _resource(unit, body.id, frozenset()))
    known = {row["id"] for row in identity.list_credentials(unit, "api_key")}
    if body.id not in known or not identity.revoke(unit, credential_id=body.id):
        raise Problem("not_found", "there is no live key with this id", hint="List the keys first.")
    ledger.record(unit, "credential.revoked", body.id, {"kind": "api_key"}, rules=decision.rules)
    return KeyRevoked(id=body.id, message="The key has ended.")


def _resource(unit: Unit, id_: str, scopes: frozenset[str]) -> Resource:
    return Resource(kind="credential", id=id_, org_id=unit.org_id, role="api_key", scopes=scopes)
