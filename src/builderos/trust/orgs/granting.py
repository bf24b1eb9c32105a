"""Grants: a member's role in one place, instead of the role in the whole organisation."""

from typing import Any

import sqlalchemy as sa

from builderos.core.actor import MemberRole
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.identity import service as identity
from builderos.trust.identity.service import roles
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource

from . import place_schema as schema
from . import sessions
from .places import find_project, find_workspace
from .ports import Subjects


def give(unit: Unit, body: schema.GrantIn) -> schema.Grant:
    """Give a member a role in a place. A former one for the same place and environment ends.

    Raises `not_found` for a place or member that there is not, `validation_failed` for an environment that the project
    does not have, or for the whole organisation without an environment: that is what the member's role is.
    """
    policy.require(unit, "member.manage", _resource(unit, "new", body.role))
    member = identity.members.find(unit, body.member_id)
    places, envs = _places(unit, body.place)
    decision = policy.require(unit, "member.manage", _resource(unit, member.id, member.role))
    sessions.by_oneself(unit)
    _check_environment(body, envs)
    environment = body.environment or ""
    id_ = roles.give(unit, member.id, places[0], environment, body.role)
    ended = roles.end_what_no_longer_holds(unit, member_id=member.id)
    payload: dict[str, Any] = {
        "member": member.id, "place": places[0], "environment": environment, "role": body.role,
        "credentials_ended": ended,
    }  # fmt: skip
    ledger.record(unit, "grant.given", id_, payload, rules=decision.rules)
    return _shown(roles.grants_of(unit, id_=id_)[0])


def listed(unit: Unit, body: schema.GrantListIn) -> schema.GrantList:
    """Who has which role where, for those who manage members; for everybody else the own grants."""
    policy.require(unit, "member.list", policy.org_resource(unit))
    manages = policy.decide(unit, "member.manage", _resource(unit, "list", "viewer")).verdict == "allow"
    rows = roles.grants_of(unit, member_id=body.member_id, place_id=body.place)
    return schema.GrantList(
        items=[_shown(row) for row in rows if manages or row.member_id == unit.actor.member_id]
    )


def take(unit: Unit, body: schema.PlaceIn) -> schema.Grant:
    """End a grant: what the member may do there is said by wider ones again, or by the role in the organisation."""
    policy.require(unit, "member.manage", _resource(unit, body.id, "viewer"))
    rows = roles.grants_of(unit, id_=body.id)
    if not rows:
        raise Problem("not_found", "there is no such grant", hint="List the grants first.")
    member = identity.members.find(unit, rows[0].member_id)
    decision = policy.require(unit, "member.manage", _resource(unit, member.id, member.role))
    sessions.by_oneself(unit)
    roles.take(unit, body.id)
    ended = roles.end_what_no_longer_holds(unit, member_id=member.id)
    payload: dict[str, Any] = {
        "member": member.id,
        "place": rows[0].place_id,
        "role": rows[0].role,
        "credentials_ended": ended,
    }
    ledger.record(unit, "grant.ended", body.id, payload, rules=decision.rules)
    return _shown(rows[0])


def _places(unit: Unit, id_: str | None) -> tuple[tuple[str, ...], list[str] | None]:
    """What a place lies in, from itself to the organisation, and the environments there (None: any)."""
    if id_ is None or id_ == unit.org_id:
        return (unit.org_id,), None
    if id_.startswith("wks_"):
        return (find_workspace(unit, id_).id, unit.org_id), None
    if id_.startswith("prj_"):
        row = find_project(unit, id_)
        return (row.id, row.workspace_id, unit.org_id), row.envs
    subjects = unit.get(Subjects)
    if not id_.startswith("repo_") or "repo" not in subjects:
        raise Problem(
            "not_found",
            "there is no such place",
            hint="Name a workspace, a project or a repository of your organisation.",
        )
    subjects.get("repo")(unit, id_)
    home = roles.home_of(unit, id_)
    envs = find_project(unit, home.project_id).envs if home.project_id else None
    return home.places(unit.org_id, id_), envs


def _check_environment(body: schema.GrantIn, envs: list[str] | None) -> None:
    if body.environment is None and (body.place is None or body.place.startswith("org_")):
        raise Problem(
            "validation_failed", "in the whole organisation a member has one role, and no grant beside it",
            hint="Change the member's role, or name a place or an environment.",
        )  # fmt: skip
    if body.environment is not None and envs is not None and body.environment not in envs:
        raise Problem(
            "validation_failed", f"this project has no environment {body.environment}",
            hint=f"Known: {', '.join(envs) or 'none'}.",
        )  # fmt: skip


def _resource(unit: Unit, id_: str, role: MemberRole) -> Resource:
    """What decides is who manages members of this role, in the whole organisation: no grant makes grants."""
    return Resource(kind="member", id=id_, org_id=unit.org_id, role=role)


def _shown(row: sa.Row[Any]) -> schema.Grant:
    return schema.Grant(
        id=row.id, member_id=row.member_id, place=row.place_id, environment=row.environment, role=row.role,
        created_at=row.created_at,
    )  # fmt: skip
