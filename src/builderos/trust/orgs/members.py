"""Who belongs to the organisation: list, change roles, remove, service accounts."""

from typing import Any, Final

import sqlalchemy as sa

from builderos.core.actor import MemberRole
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.identity import service as identity
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource

from . import schema, sessions
from .model import invites, people

_RANK: Final[dict[str, int]] = {"viewer": 0, "reviewer": 1, "builder": 1, "admin": 2, "org_owner": 3}


def resource(unit: Unit, id_: str, role: MemberRole) -> Resource:
    """A member as the policy sees it: what decides is the role that is given, changed or taken away."""
    return Resource(kind="member", id=id_, org_id=unit.org_id, role=role)


def listed(unit: Unit, _body: schema.Nothing) -> schema.MemberList:
    """All members, oldest first."""
    policy.require(unit, "member.list", policy.org_resource(unit))
    manages = policy.decide(unit, "member.manage", resource(unit, "list", "viewer")).verdict == "allow"
    known = {row.member_id: row for row in unit.execute(sa.select(people))}
    return schema.MemberList(
        items=[_shown(member, known.get(member.id), manages) for member in identity.members.everybody(unit)]
    )


def names(unit: Unit) -> dict[str, str]:
    """What the members call themselves, by their ids; nothing for whoever may not list them."""
    if policy.decide(unit, "member.list", policy.org_resource(unit)).verdict != "allow":
        return {}
    return {row.member_id: row.name for row in unit.execute(sa.select(people.c.member_id, people.c.name))}


def address_of(unit: Unit, member_id: str) -> str | None:
    """The mail address of a member who is a person and has not left."""
    wanted = sa.select(people.c.email).where(people.c.member_id == member_id)
    return unit.execute(wanted).scalar_one_or_none()


def change(unit: Unit, body: schema.MemberIn) -> schema.Member:
    """Give a member another role. Raises `conflict` where that would take the last owner.

    API keys, invites, workspace tokens and tokens of service accounts that the member has made end when the new role
    does not hold all of the former.
    """
    member, _ = _managed(unit, body.id)
    decision = policy.require(unit, "member.manage", resource(unit, member.id, body.role))
    sessions.by_oneself(unit)
    identity.members.set_role(unit, member, body.role)
    ended = 0
    if not _keeps_all(member.role, body.role):
        ended = identity.revoke_of_member(unit, member.id, ("api_key", "invite", "reuse_token", "share"))
        ended += identity.members.revoke_handed(unit, member.id)
        _end_invites(unit, member.id)
    payload: dict[str, Any] = {"from": member.role, "to": body.role, "credentials_ended": ended}
    ledger.record(unit, "member.changed", member.id, payload, rules=decision.rules)
    person = unit.execute(sa.select(people).where(people.c.member_id == member.id)).one_or_none()
    changed = identity.members.Member(member.id, body.role, member.label, member.created_at)
    return _shown(changed, person, manages=True)


def remove(unit: Unit, body: schema.Which) -> schema.Gone:
    """End a membership with everything that acts on its behalf, and forget who the person was."""
    member, decision = _managed(unit, body.id)
    return _end(unit, member, "member.removed", decision)


def leave(unit: Unit, body: schema.Leaving) -> schema.Gone:
    """End the own membership, as `remove` does. Raises `conflict` for the last owner, `validation_failed` unless the
    organisation's slug is typed.
    """
    decision = policy.require(unit, "me.manage", policy.org_resource(unit))
    sessions.by_oneself(unit)
    if body.confirm != (slug := identity.org_slug(unit)):
        raise Problem("validation_failed", "confirm has to be the organisation's slug", hint=f"Type {slug}.")
    if unit.actor.member_id is None:
        raise Problem(
            "conflict",
            "this credential is no member's: there is nothing to leave",
            hint="Sign in as a member.",
        )
    return _end(unit, identity.members.find(unit, unit.actor.member_id), "member.left", decision)


def hand_over(unit: Unit, body: schema.HandOverIn) -> schema.Member:
    """Make another member an owner and oneself an admin, both or neither.

    Raises `validation_failed` for a service account, which owns nothing, and for oneself.
    """
    successor, _ = _managed(unit, body.id)
    decision = policy.require(unit, "member.manage", resource(unit, successor.id, "org_owner"))
    sessions.by_oneself(unit)
    if unit.actor.role != "org_owner" or unit.actor.member_id is None:
        raise Problem(
            "policy_denied", "only an owner of the organisation hands it over",
            hint="Ask an owner.", policy_rule="owners-manage-owners",
        )  # fmt: skip
    if successor.kind == "service" or successor.id == unit.actor.member_id:
        raise Problem(
            "validation_failed", "an organisation is handed over to another person",
            hint="Name a member who is a person, and not you.",
        )  # fmt: skip
    former = identity.members.find(unit, unit.actor.member_id)
    identity.members.set_role(unit, successor, "org_owner")
    identity.members.set_role(unit, former, "admin")
    payload = {"from": former.id, "to": successor.id}
    ledger.record(unit, "org.handed_over", unit.org_id, payload, rules=decision.rules)
    person = unit.execute(sa.select(people).where(people.c.member_id == successor.id)).one_or_none()
    changed = identity.members.Member(successor.id, "org_owner", successor.label, successor.created_at)
    return _shown(changed, person, manages=True)


def _end(unit: Unit, member: identity.members.Member, type_: str, decision: policy.Decision) -> schema.Gone:
    identity.members.remove(unit, member)
    handed = identity.members.revoke_handed(unit, member.id)
    _end_invites(unit, member.id)
    sessions.end_all(unit, member.id, "the membership ended")
    identity.roles.take_all(unit, member_id=member.id)
    cancelled = policy.parting.end_of(unit, member.id)
    unit.ask("ops.forget_person", member.id)  # what a legal hold names is set aside, where nothing finds it
    payload = {"role": member.role, "approvals_cancelled": cancelled, "service_tokens_ended": handed}
    ledger.record(unit, type_, member.id, payload, rules=decision.rules)
    message = "The membership has ended, and every token with it."
    if handed:
        message += (
            f" So have {handed} of service accounts that this member made: make new ones where they are used."
        )
    return schema.Gone(id=member.id, message=message)


def create_service(unit: Unit, body: schema.ServiceIn) -> schema.Member:
    """Make a service account; it acts with tokens that are made for it."""
    decision = policy.require(unit, "member.manage", resource(unit, "new", body.role))
    sessions.by_oneself(unit)
    member = identity.members.add(unit, body.role, label=body.label)
    ledger.record(unit, "member.added", member.id, {"role": body.role}, rules=decision.rules)
    return _shown(member, None, manages=True)


def _managed(unit: Unit, id_: str) -> tuple[identity.members.Member, policy.Decision]:
    """A member that the caller may manage. Whoever may manage nobody hears nothing of who exists."""
    policy.require(unit, "member.manage", resource(unit, id_, "viewer"))
    member = identity.members.find(unit, id_)
    return member, policy.require(unit, "member.manage", resource(unit, member.id, member.role))


def _end_invites(unit: Unit, member_id: str) -> None:
    """End the open invites that a member made with a right that is gone."""
    c = invites.c
    wanted = sa.update(invites).where(
        c.created_by == member_id, c.accepted_at.is_(None), c.revoked_at.is_(None)
    )
    unit.execute(wanted.values(revoked_at=unit.now, email=None))


def _keeps_all(former: str, new: str) -> bool:
    """Whether the new role may do all that the former may; builders and reviewers have nothing in common."""
    return former == new or _RANK[new] > _RANK[former]


def _shown(member: identity.members.Member, person: sa.Row[Any] | None, manages: bool) -> schema.Member:
    return schema.Member(
        id=member.id, kind=member.kind, role=member.role, label=member.label,
        name=person.name if person is not None else None,
        email=person.email if person is not None and manages else None, created_at=member.created_at,
    )  # fmt: skip
