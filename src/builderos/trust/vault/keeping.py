"""Secrets of an organisation: set, list, switch off, delete, and change the key they are kept under. Never read."""

from typing import Any, Final

import sqlalchemy as sa

from builderos.core.ids import new_id
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy

from . import sealing
from .keys import Keys
from .known import Known
from .model import secret_versions, secrets, vault_keys
from .schema import (
    RotatedKey,
    RotateKeyIn,
    Secret,
    SecretChangeIn,
    SecretGone,
    SecretIn,
    SecretList,
    SecretListIn,
    SecretWhich,
)

MAX_SECRETS: Final = 1000
MAX_VALUE: Final = 65_536  # bytes
CHANGED: Final = "secret.changed"


def set_secret(unit: Unit, body: SecretIn) -> Secret:
    """Keep a secret, or a new version of one.

    Raises `validation_failed` (empty, NUL, scope without name), `payload_too_large`, `conflict` (another version than
    expected), `quota_exceeded`.
    """
    decision = policy.require(unit, "secret.manage", policy.org_resource(unit))
    value = _checked(body)
    unit.get(Known).saw(value)
    keys = Keys(unit)
    row = _find(unit, body.scope, body.of, body.key_name)
    version = row.version if row is not None else 0
    if body.expected_version is not None and body.expected_version != version:
        raise Problem(
            "conflict", f"{body.key_name} has version {version}", hint="List the secrets and decide again.",
            conflicts=[], version=version,
        )  # fmt: skip
    id_ = row.id if row is not None else new_id("sec")
    which = sealing.Which(id_, body.scope, body.of, body.key_name, version + 1)
    fingerprint = keys.fingerprint(id_, which.version, value)
    if row is None:
        _refuse_too_many(unit)
        unit.add(
            secrets, id=id_, org_id=unit.org_id, scope_kind=body.scope, scope_name=body.of, name=body.key_name,
            description=body.description, state="active", version=1, fingerprint=fingerprint, created_by=unit.actor.id,
            created_at=unit.now, changed_at=unit.now,
        )  # fmt: skip
    else:
        news: dict[str, Any] = {"version": which.version, "fingerprint": fingerprint, "state": "active"}
        news |= {"changed_at": unit.now} | ({"description": body.description} if body.description else {})
        unit.execute(sa.update(secrets).where(secrets.c.id == id_).values(news))
    sealing.seal(unit, keys, which, value)
    return _noted(unit, id_, "created" if row is None else "new_version", decision.rules)


def _checked(body: SecretIn) -> bytes:
    value = body.value.encode("utf-8", "surrogatepass")
    fault = ""
    if not value:
        fault = "the value is empty"
    elif b"\0" in value:
        fault = "the value contains a NUL character, which no environment can carry"
    elif (body.scope == "org") != (body.of == ""):
        fault = "`of` names the project, environment or repository of the scope, and is empty for org"
    if fault:
        raise Problem("validation_failed", fault, hint="Nothing was kept.")
    if len(value) > MAX_VALUE:
        raise Problem(
            "payload_too_large", f"the value has {len(value)} bytes; the limit is {MAX_VALUE}",
            hint="Keep the file elsewhere, and its key here.", limit=MAX_VALUE, used=len(value),
        )  # fmt: skip
    return value


def _find(unit: Unit, scope: str, of: str, name: str) -> sa.Row[tuple[Any, ...]] | None:
    c = secrets.c
    wanted = sa.select(secrets).where(
        c.scope_kind == scope, c.scope_name == of, c.name == name, c.state != "deleted"
    )
    return unit.execute(wanted.with_for_update()).one_or_none()


def _refuse_too_many(unit: Unit) -> None:
    count = sa.select(sa.func.count()).where(secrets.c.state != "deleted")
    used = unit.execute(count.select_from(secrets)).scalar_one()
    if used >= MAX_SECRETS:
        raise Problem(
            "quota_exceeded", f"the organisation has {used} secrets; the limit is {MAX_SECRETS}",
            hint="Delete what nothing uses.", limit=MAX_SECRETS, used=used, resets_at=None, name="secrets",
        )  # fmt: skip


def _noted(unit: Unit, id_: str, change: str, rules: tuple[str, ...]) -> Secret:
    row = unit.execute(sa.select(secrets).where(secrets.c.id == id_)).one()
    payload = {
        "change": change, "name": row.name, "scope": row.scope_kind, "of": row.scope_name, "version": row.version,
        "state": row.state, "fingerprint": row.fingerprint,
    }  # fmt: skip
    ledger.record(unit, CHANGED, id_, payload, rules=rules)
    known, org_id = unit.get(Known), unit.org_id
    unit.after_commit(lambda: known.changed(org_id))
    return _secret(row)


def _secret(row: sa.Row[tuple[Any, ...]]) -> Secret:
    return Secret(
        id=row.id, key_name=row.name, scope=row.scope_kind, of=row.scope_name, description=row.description,
        state="disabled" if row.state == "disabled" else "active", version=row.version, fingerprint=row.fingerprint,
        created_at=row.created_at, changed_at=row.changed_at, last_used_at=row.last_used_at,
    )  # fmt: skip


def list_secrets(unit: Unit, _body: SecretListIn) -> SecretList:
    """Names, versions and times; never a value."""
    policy.require(unit, "secret.read", policy.org_resource(unit))
    c = secrets.c
    wanted = sa.select(secrets).where(c.state != "deleted").order_by(c.name, c.scope_kind, c.scope_name)
    return SecretList(items=[_secret(row) for row in unit.execute(wanted.limit(MAX_SECRETS))])


def change_secret(unit: Unit, body: SecretChangeIn) -> Secret:
    """Switch a secret off or on; a disabled one is released to nobody."""
    decision = policy.require(unit, "secret.manage", policy.org_resource(unit))
    _existing(unit, body.id)
    values = {"state": body.state, "changed_at": unit.now}
    unit.execute(sa.update(secrets).where(secrets.c.id == body.id).values(values))
    return _noted(unit, body.id, "enabled" if body.state == "active" else "disabled", decision.rules)


def delete_secret(unit: Unit, body: SecretWhich) -> SecretGone:
    """Destroy every version of a secret. There is no way back."""
    decision = policy.require(unit, "secret.manage", policy.org_resource(unit))
    row = _existing(unit, body.id)
    sealing.destroy(unit, body.id, upto=row.version)
    values = {"state": "deleted", "changed_at": unit.now}
    unit.execute(sa.update(secrets).where(secrets.c.id == body.id).values(values))
    _noted(unit, body.id, "deleted", decision.rules)
    return SecretGone(
        id=body.id, key_name=row.name, message=f"{row.name} is destroyed. End it where it was issued, too."
    )


def _existing(unit: Unit, id_: str) -> sa.Row[tuple[Any, ...]]:
    wanted = sa.select(secrets).where(secrets.c.id == id_, secrets.c.state != "deleted").with_for_update()
    row = unit.execute(wanted).one_or_none()
    if row is None:
        raise Problem("not_found", "there is no secret with this id", hint="List the secrets first.")
    return row


def rotate_key(unit: Unit, _body: RotateKeyIn) -> RotatedKey:
    """Put every value's key under a new key of the vault, and destroy the old one: all of it, or nothing."""
    decision = policy.require(unit, "secret.manage", policy.org_resource(unit))
    keys = Keys(unit)
    older = keys.hold_all()
    key_version, box = keys.add(max(older, default=0) + 1)
    rows = unit.execute(sa.select(secret_versions).where(secret_versions.c.sealed.is_not(None))).all()
    for row in rows:
        sealing.rewrap(unit, keys, row, key_version, box)
    unit.execute(sa.delete(vault_keys).where(vault_keys.c.version.in_(older)))
    payload = {"version": key_version, "rewrapped": len(rows)}
    ledger.record(unit, "secret.key_rotated", unit.org_id, payload, rules=decision.rules)
    message = f"The keys of {len(rows)} values are under key {key_version} now; older ones are destroyed."
    return RotatedKey(key_version=key_version, rewrapped=len(rows), message=message)
