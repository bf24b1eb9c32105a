"""Invites: a single-use credential that lets one person become a member."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from builderos.core.actor import MemberRole
from builderos.core.ids import new_id
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.identity import service as identity
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy

from . import schema, sessions
from .members import resource
from .model import invites, people

LIFE: Final = timedelta(days=7)


@dataclass(frozen=True)
class Made:
    """A fresh invite with the secret that is shown once."""

    id: str
    secret: str
    expires_at: datetime


def make(unit: Unit, email: str, role: MemberRole) -> Made:
    """An invite in the unit's organisation; an open one for the same address ends."""
    known = sa.select(people.c.member_id).where(people.c.email == email)
    if unit.execute(known).first() is not None:
        raise Problem("conflict", "this person is a member already", hint="List the members.")
    for row in unit.execute(_open(unit).where(invites.c.email == email)).all():
        _end(unit, row)
    id_, expires_at = new_id("inv"), unit.now + LIFE
    credential = identity.issue(
        unit, "invite", actor_name="invite", actor_id=id_, label="invite", expires_at=expires_at
    )
    unit.execute(
        sa.insert(invites).values(
            id=id_, org_id=unit.org_id, credential_id=credential.id, email=email, role=role,
            created_by=unit.actor.id, created_at=unit.now, expires_at=expires_at,
        )
    )  # fmt: skip
    return Made(id_, credential.secret, expires_at)


def create(unit: Unit, body: schema.InviteIn) -> schema.NewInvite:
    """Invite somebody. Raises `conflict` for the address of a member."""
    decision = policy.require(unit, "member.manage", resource(unit, "new", body.role))
    sessions.by_oneself(unit)
    made = make(unit, body.email, body.role)
    ledger.record(unit, "invite.created", made.id, {"role": body.role}, rules=decision.rules)
    return schema.NewInvite(
        id=made.id, invite_token=made.secret, email=body.email, role=body.role, expires_at=made.expires_at,
        message=f"Give the invite to {body.email}: it is not shown again.",
    )  # fmt: skip


def listed(unit: Unit, _body: schema.Nothing) -> schema.InviteList:
    """Invites that can still be accepted, oldest first."""
    policy.require(unit, "member.manage", resource(unit, "list", "viewer"))
    rows = unit.execute(_open(unit).order_by(invites.c.id))
    return schema.InviteList(
        items=[
            schema.Invite(
                id=row.id,
                email=row.email,
                role=row.role,
                created_at=row.created_at,
                expires_at=row.expires_at,
            )
            for row in rows
        ]
    )


def revoke(unit: Unit, body: schema.Which) -> schema.Gone:
    """End an invite."""
    row = unit.execute(_open(unit).where(invites.c.id == body.id)).one_or_none()
    if row is None:
        policy.require(unit, "member.manage", resource(unit, body.id, "viewer"))
        raise Problem("not_found", "there is no open invite with this id", hint="List the invites first.")
    decision = policy.require(unit, "member.manage", resource(unit, row.id, row.role))
    _end(unit, row)
    ledger.record(unit, "invite.revoked", row.id, {}, rules=decision.rules)
    return schema.Gone(id=row.id, message="The invite has ended.")


def accept(unit: Unit, body: schema.AcceptIn) -> schema.Tokens:
    """Become a member and sign in. The invite is used up; of two who send it at once one is refused."""
    return sessions.begin(unit, used_up(unit, body), "invite")


def used_up(unit: Unit, body: schema.AcceptIn) -> identity.members.Member:
    """Make whoever holds the unit's invite a member. Raises `token_invalid`."""
    decision = policy.require(unit, "member.join", policy.org_resource(unit))
    row = unit.execute(_open(unit).where(invites.c.id == unit.actor.id).with_for_update()).one_or_none()
    if row is None:
        raise over()
    member = join(unit, row, body.name)
    ledger.record(
        unit, "member.joined", member.id, {"invite": row.id, "role": row.role}, rules=decision.rules
    )
    return member


def join(unit: Unit, row: sa.Row[Any], name: str) -> identity.members.Member:
    """Make the invited person a member and use the invite up."""
    member = identity.members.add(unit, row.role)
    unit.execute(
        sa.insert(people).values(member_id=member.id, org_id=unit.org_id, email=row.email, name=name)
    )
    _end(unit, row, accepted_at=unit.now, member_id=member.id)
    return member


def over() -> Problem:
    """One answer for every invite that lets nobody in."""
    return Problem("token_invalid", "this invite was used or has ended", hint="Ask for a new one.")


def open_for(unit: Unit, email: str) -> sa.Row[Any] | None:
    """The open invite of an address, held until the transaction ends."""
    return unit.execute(_open(unit).where(invites.c.email == email).with_for_update()).one_or_none()


def _open(unit: Unit) -> sa.Select[Any]:
    c = invites.c
    return sa.select(invites).where(c.accepted_at.is_(None), c.revoked_at.is_(None), c.expires_at > unit.now)


def _end(unit: Unit, row: sa.Row[Any], **values: Any) -> None:
    identity.revoke(unit, credential_id=row.credential_id)
    changes = {"email": None, **(values or {"revoked_at": unit.now})}
    unit.execute(sa.update(invites).where(invites.c.id == row.id).values(changes))
