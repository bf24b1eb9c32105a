"""What an actor of an earlier call may still claim: for what is done later on somebody's behalf."""

from dataclasses import replace
from typing import Final

import sqlalchemy as sa

from builderos.core.actor import Actor, Grant, Role
from builderos.core.problems import Problem
from builderos.core.unit import Unit

from . import members, roles
from .model import credentials

_SESSIONS: Final = frozenset({"access", "cookie"})  # end with the day; the member stays
_ROLE: Final[dict[str, Role]] = {"reuse_token": "sandbox", "owner": "owner", "api_key": "api_key"}
_BY_MEMBERS: Final = ("personal", "service", "access", "cookie")  # `still` gives them the member's role
_OF_MEMBERS: Final = frozenset({"org_owner", "admin", "builder", "reviewer", "viewer"})


def standing_in(unit: Unit, actor_id: str, branch: str) -> Actor | None:
    """Who acted under an id that the ledger names, with the rights of now; None where nothing of them is valid.

    `branch`: the one that they acted on, where a credential is bound to a sandbox.
    """
    c = credentials.c
    live = (c.revoked_at.is_(None), c.suspended_at.is_(None), c.kind.in_([*_ROLE, *_BY_MEMBERS]))
    rows = unit.execute(
        sa.select(credentials).where(c.actor_id == actor_id, *live).order_by(c.created_at.desc())
    )
    for row in rows:
        actor = Actor(
            role=_ROLE.get(row.kind, "viewer"), id=row.actor_id, name=row.actor_name, org_id=unit.org_id,
            profile=row.profile, scopes=frozenset(row.scopes), credential_id=row.id, repo_id=row.repo_id,
            sandbox_id=row.sandbox_id, branch=branch if row.sandbox_id else None, member_id=row.member_id,
            opened_by=row.made_by if row.sandbox_id else None,
        )  # fmt: skip
        found = still(unit, actor)
        if found is not None:
            return found
    return None


def still(unit: Unit, actor: Actor) -> Actor | None:
    """The actor with the rights of now; None where the credential or the member is gone.

    A signed-in member needs no live session, for that would end what they set up each evening; any other credential
    must be neither revoked nor expired.
    """
    c = credentials.c
    row = unit.execute(
        sa.select(c.kind, c.expires_at, c.revoked_at, c.suspended_at).where(c.id == actor.credential_id)
    ).one_or_none()
    if row is not None and row.kind not in _SESSIONS:
        over = row.expires_at is not None and row.expires_at <= unit.now
        if over or row.revoked_at is not None or row.suspended_at is not None:
            return None
    if actor.member_id is None or actor.role not in _OF_MEMBERS:
        return None if row is None else actor
    try:
        member = members.find(unit, actor.member_id, lock=False)
    except Problem:
        return None
    given = roles.grants_of(unit, member_id=member.id)
    grants = tuple(Grant(g.id, g.place_id, g.environment, g.role) for g in given)
    return replace(actor, role=member.role, grants=grants)
