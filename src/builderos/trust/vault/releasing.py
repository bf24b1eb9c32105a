"""The only way to a value: for a purpose, where the policy file lists the name, with a line in the ledger each time."""

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.unit import Unit, as_system
from builderos.trust.identity.service import roles
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource

from . import sealing
from .keeping import CHANGED
from .keys import Keys
from .known import Known
from .model import secret_versions as versions
from .model import secrets

REFERENCE: Final = "secret:"
MAX_NAMES: Final = 100
_NARROWEST: Final = ("environment", "repository", "project", "org")


def release(unit: Unit, names: Sequence[str], purpose: str, resource: Resource) -> dict[str, str]:
    """Name → value, for one purpose (`run run_01…`, `smtp`) at a place: a `repo` with its names, or the `org`.

    Of secrets with one name the narrowest is taken: of the environment, the repository, the project, the organisation.
    All or nothing. Raises `policy_denied` unless the policy file allows every name, `not_found` for one that is not
    there or disabled, `unavailable` for one that was altered in the database.
    """
    wanted = list(dict.fromkeys(names))
    if len(wanted) > MAX_NAMES:
        raise Problem("payload_too_large", f"{len(wanted)} secrets at once; the limit is {MAX_NAMES}")
    decisions = {name: policy.may_use_secret(unit, name, resource) for name in wanted}
    for decision in decisions.values():
        if decision.verdict != "allow":
            raise policy.Refused(decision, "secret.use", resource)
    rows = _at(unit, wanted, resource)
    keys, known, values = Keys(unit), unit.get(Known), dict[str, str]()
    for name in wanted:
        value = _opened(unit, keys, rows[name])
        known.saw(value)
        values[name] = value.decode("utf-8", "surrogatepass")
    used = sa.update(secrets).where(secrets.c.id.in_([row.id for row in rows.values()]))
    unit.execute(used.values(last_used_at=unit.now))
    for name in wanted:
        row, rules = rows[name], decisions[name].rules
        payload = {"name": name, "version": row.version, "purpose": purpose, "repo_id": resource.repo_id,
                   "branch": resource.branch, "agent": unit.actor.name}  # fmt: skip
        payload = {key: value for key, value in payload.items() if value is not None}
        ledger.record(unit, "secret.released", row.id, payload, rules=rules)
    return values


def _at(unit: Unit, names: Sequence[str], resource: Resource) -> dict[str, sa.Row[tuple[Any, ...]]]:
    """The secret that each name means at this place, with its sealed value."""
    places = _places(unit, resource)
    c, v = secrets.c, versions.c
    here = sa.or_(*(sa.and_(c.scope_kind == kind, c.scope_name == name) for kind, name in places.items()))
    same = sa.and_(v.secret_id == c.id, v.version == c.version)
    joined = sa.select(secrets, v.key_version, v.wrapped_key, v.sealed).join(versions, same)
    found: dict[str, sa.Row[tuple[Any, ...]]] = {}
    for row in unit.execute(joined.where(c.name.in_(names), c.state != "deleted", here)):
        best = found.get(row.name)
        if best is None or _NARROWEST.index(row.scope_kind) < _NARROWEST.index(best.scope_kind):
            found[row.name] = row
    missing = [name for name in names if name not in found or found[name].state != "active"]
    if missing:
        raise Problem(
            "not_found", f"there is no active secret {', '.join(missing[:5])} here",
            hint=f"builderos secret set {missing[0]}",
        )  # fmt: skip
    return found


def _places(unit: Unit, resource: Resource) -> dict[str, str]:
    """Scope → name at this place."""
    places = {"org": ""}
    if resource.environment:
        places["environment"] = resource.environment
    if resource.repo_id is not None:
        home = roles.home_of(unit, resource.repo_id)
        names = {"repository": home.repo_name or resource.project, "project": home.project}
        places |= {kind: name for kind, name in names.items() if name}
    return places


def _opened(unit: Unit, keys: Keys, row: sa.Row[tuple[Any, ...]]) -> bytes:
    """The value, after holding the row against the ledger: whoever can write to the database could put back an older
    version, or switch a disabled secret on.
    """
    lines = ledger.search(unit, ledger.Wanted(type=CHANGED, object=row.id), before=None, limit=1)
    if lines and (lines[0]["payload"]["version"], lines[0]["payload"]["state"]) != (row.version, row.state):
        raise sealing.tampered(row.name)
    which = sealing.Which(row.id, row.scope_kind, row.scope_name, row.name, row.version)
    return sealing.open_(unit, keys, which, row)


def resolve(context: Context, org_id: str, text: str, purpose: str) -> str:
    """A setting's text, or the secret that it refers to as `secret:NAME`: for what the server itself sends out.

    Raises what `release` raises; the policy file has to allow the name to the agent `builderos`.
    """
    if not text.startswith(REFERENCE):
        return text
    name = text.removeprefix(REFERENCE)

    def taken(unit: Unit) -> str:
        return release(unit, [name], purpose, policy.org_resource(unit))[name]

    return as_system(context, org_id, taken)
