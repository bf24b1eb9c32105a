"""What an actor of an earlier call may still claim: for what is done later on somebody's behalf."""

from dataclasses import replace
from typing import Final

import sqlalchemy as sa

from builderos.core.actor import Actor, Grant
from builderos.core.problems import Problem
from builderos.core.unit import Unit

from . import members, roles
from .model import credentials

_SESSIONS: Final = frozenset({"access", "cookie"})  # end with the day; the member stays
_OF_MEMBERS: Final = frozenset({"org_owner", "admin", "builder", "reviewer", "viewer"})


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
