"""Who one is, and what one may do to an object and why."""

from collections.abc import Collection
from dataclasses import replace
from typing import Annotated, Literal

import sqlalchemy as sa
from pydantic import Field

from builderos.core.problems import Problem
from builderos.core.schema import In, Line, Out
from builderos.core.unit import Unit
from builderos.trust.identity import service as identity
from builderos.trust.identity.service import roles
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource

from .members import resource as member_resource
from .model import people
from .place_schema import Environment
from .places import find_project, find_workspace, project_resource, workspace_resource
from .ports import Subjects


class Me(Out):
    """What the credential proves. `name` and `email` are those of a member who is a person."""

    id: str
    role: str
    label: str
    name: str | None
    email: str | None
    org_id: str
    org_slug: str
    member_id: str | None
    credential_id: str | None
    profile: str
    scopes: list[str]
    repo_id: str | None
    sandbox_id: str | None
    branch: str | None


class PermissionsIn(In):
    """About what."""

    object: Annotated[
        Line | None,
        Field(
            description="Id of a repository, branch, sandbox, promotion, run, deployment, project, workspace or "
            "member; else the organisation."
        ),
    ] = None
    environment: Annotated[
        Environment | None, Field(description="For acts in this environment, e.g. stage.")
    ] = None


class Standing(Out):
    """One role that was considered: in the organisation, or by a grant in a place. `counts`: this one decides."""

    role: str
    place: str
    environment: str
    grant: str | None
    counts: bool


class Permission(Out):
    """One act: whether it is allowed, and the rules that decide."""

    action: str
    verdict: Literal["allow", "needs_approval", "deny"]
    rules: list[str]
    code: str
    hint: str


class Permissions(Out):
    """Every act that fits the object."""

    object: str
    kind: str
    environment: str | None
    role: str
    roles: list[Standing]
    scopes: list[str]
    items: list[Permission]


def show(unit: Unit, _body: In) -> Me:
    """Who the caller is."""
    policy.require(unit, "me.read", policy.org_resource(unit))
    actor = unit.actor
    wanted = sa.select(people).where(people.c.member_id == actor.id)
    person = unit.execute(wanted).one_or_none() if actor.id == actor.member_id else None
    return Me(
        id=actor.id, role=actor.role, label=actor.name, name=person.name if person is not None else None,
        email=person.email if person is not None else None, org_id=actor.org_id,
        org_slug=identity.org_slug(unit), member_id=actor.member_id, credential_id=actor.credential_id,
        profile=actor.profile, scopes=sorted(actor.scopes), repo_id=actor.repo_id, sandbox_id=actor.sandbox_id,
        branch=actor.branch,
    )  # fmt: skip


def names(unit: Unit, ids: Collection[str]) -> dict[str, str]:
    """What those are called whom ids stand for: to members and the owner by their names, to others by their labels."""
    found = identity.members.labels(unit, ids)
    if unit.actor.member_id is not None or unit.actor.role == "owner":
        c = people.c
        named = sa.select(c.member_id, c.name, c.email).where(c.member_id.in_(list(set(ids))))
        found |= {row.member_id: row.name or row.email for row in unit.execute(named)}
    return found


def permissions(unit: Unit, body: PermissionsIn) -> Permissions:
    """What the caller may do to an object, with the deciding rules; changes and records nothing.

    Raises `not_found` for what the caller may not know of.
    """
    policy.require(unit, "me.read", policy.org_resource(unit))
    subject = replace(_subject(unit, body.object), environment=body.environment)
    decisions = {action: policy.decide(unit, action, subject) for action in policy.actions_on(subject.kind)}
    if subject.kind == "org":
        decisions |= {action: policy.decide(unit, action, thing) for action, thing in _not_yet(unit).items()}
    own = unit.actor.sandbox_id
    neighbours = own is not None and subject.sandbox_id not in (None, own)
    if neighbours or not decisions or all(decision.code == "not_found" for decision in decisions.values()):
        raise _unknown()
    items = [
        Permission(action=action, verdict=d.verdict, rules=list(d.rules), code=d.code, hint=d.hint)
        for action, d in decisions.items()
    ]
    return Permissions(
        object=subject.id,
        kind=subject.kind,
        environment=body.environment,
        role=policy.acting(unit, subject).role,
        roles=_roles(unit, subject),
        scopes=sorted(unit.actor.scopes),
        items=items,
    )


def _not_yet(unit: Unit) -> dict[policy.Action, Resource]:
    """What may be brought into the organisation, the least of its kind; of what is there already its own id tells."""
    read = frozenset(("read",))
    token = Resource(kind="credential", id="new", org_id=unit.org_id, role=unit.actor.role, scopes=read)
    return {
        "credential.create": replace(token, role="api_key"),
        "dataset.write": Resource(kind="artifact", id="new", org_id=unit.org_id),
        "member.manage": member_resource(unit, "new", "viewer"),
        "token.create": token,
    }


def _roles(unit: Unit, subject: Resource) -> list[Standing]:
    """Every role the caller has where the object lies, from the one that counts to the one in the organisation."""
    held = list(unit.actor.grants)
    places = policy.places_of(unit, subject) if held else ()
    found: list[Standing] = []
    while (grant := roles.deciding(tuple(held), places, subject.environment)) is not None:
        held.remove(grant)
        found.append(
            Standing(
                role=grant.role, place=grant.place_id, environment=grant.environment, grant=grant.id,
                counts=not found,
            )
        )  # fmt: skip
    own = Standing(role=unit.actor.role, place=unit.org_id, environment="", grant=None, counts=not found)
    return [*found, own]


def _subject(unit: Unit, id_: str | None) -> Resource:
    if id_ is None or id_ == unit.org_id:
        return policy.org_resource(unit)
    kind = id_.partition("_")[0]
    if kind == "prj":
        return project_resource(unit, find_project(unit, id_))
    if kind == "wks":
        return workspace_resource(unit, find_workspace(unit, id_).id)
    if kind in ("usr", "sva"):
        policy.require(unit, "member.list", policy.org_resource(unit))
        return member_resource(unit, id_, identity.members.find(unit, id_, lock=False).role)
    subjects = unit.get(Subjects)
    if kind not in subjects:
        raise _unknown()
    try:
        return subjects.get(kind)(unit, id_)
    except Problem as problem:
        if problem.code != "not_found":
            raise
        raise _unknown() from None  # one answer for what is not there and for what is hidden


def _unknown() -> Problem:
    return Problem(
        "not_found", "there is no such object",
        hint="Send the id of a repository, branch, sandbox, promotion, project, workspace or member of yours.",
    )  # fmt: skip
