"""What waits for one person's decision: the requests that exactly this caller may decide about."""

from collections.abc import Collection
from dataclasses import replace
from typing import Annotated

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.dialects.postgresql import ARRAY

from builderos.core.actor import Actor
from builderos.core.schema import Out
from builderos.core.unit import Unit

from .approvals import (
    Approval,
    ApprovalIn,
    approval_of,
    find,
    link_to,
    member_behind,
    own_voices,
    resource_of,
    roles_of,
)
from .decision import acting, decide, require
from .model import approvals
from .ports import Names, Readings
from .terms import in_favour, missing


class Quorum(Out):
    """How far a request is: who has to decide, how many of them, how many said yes, how many are missing."""

    roles: list[str]
    needed: int
    given: int
    missing: int


class ApprovalShown(Approval):
    """Everything that somebody needs to decide in a minute."""

    quorum: Quorum
    may_decide: bool
    link: str
    names: Annotated[dict[str, str], Field(description="What those are called who asked or decided, by id.")]


def voice_of(actor: Actor) -> str:
    """Who is counted when this actor decides: the member, or the one credential that stands for nobody."""
    return actor.member_id or actor.id


def show(unit: Unit, body: ApprovalIn) -> ApprovalShown:
    """One approval with its diff, and whether the caller may decide about it. Raises `not_found`."""
    require(unit, "approval.read", resource_of(unit, body.id))
    approval = find(unit, body.id)
    if files := files_in(approval.diff):
        unit.get(Readings).note(unit, "approval.read", approval.id, files)
    who = [approval.requested_by, *(str(one["who"]) for one in approval.decisions)]
    return ApprovalShown(
        **approval.model_dump(), quorum=quorum(approval), may_decide=may_decide(unit, approval),
        link=link_to(unit.settings, approval.id), names=unit.get(Names).of(unit, who),
    )  # fmt: skip


def files_in(diff: str) -> list[str]:
    """The files that a comparison shows, in its order."""
    named = (line[6:] for line in diff.splitlines() if line.startswith(("+++ b/", "--- a/")))
    return list(dict.fromkeys(named))


def for_reader(
    unit: Unit, *, before: str | None, limit: int, without: Collection[str] = (), only: Collection[str] = ()
) -> list[Approval]:
    """Pending requests that the unit's actor may decide about and has not, newest first.

    `before` is the part of an id behind its prefix, which sorts by time. `without` some ids, or `only` some.
    """
    scattered = bool(
        unit.actor.grants
    )  # in some places another role: then each request is looked at by itself
    held = [unit.actor, *(replace(unit.actor, role=grant.role) for grant in unit.actor.grants)]
    roles = sorted(set[str]().union(*map(roles_of, held)))
    everywhere = scattered or decide(unit, "approval.decide", resource_of(unit, "inbox")).verdict == "allow"
    if not roles or not everywhere:
        return []
    c = approvals.c
    named = c.required["from"].op("?|", is_comparison=True)(sa.cast(roles, ARRAY(sa.Text)))
    voted = c.decisions.contains([{"who": voice_of(unit.actor)}])
    wanted = sa.select(approvals).where(c.state == "pending", c.expires_at > unit.now, named, sa.not_(voted))
    if own := own_voices(unit):
        wanted = wanted.where(sa.or_(c.requested_member.is_(None), c.requested_member.not_in(own)))
    if before is not None:
        wanted = wanted.where(c.id < f"apr_{before}")
    if without:
        wanted = wanted.where(c.id.not_in(without))
    if only:
        wanted = wanted.where(c.id.in_(only))
    wanted = wanted.order_by(c.id.desc()).limit(limit)
    found, rows = list[Approval](), unit.execute(wanted).all()
    while rows:
        page = [approval_of(row, unit.now) for row in rows]
        found += [approval for approval in page if not scattered or may_decide(unit, approval)]
        full = len(found) >= limit or len(rows) < limit  # else those that were left out made room for more
        rows = () if full else unit.execute(wanted.where(c.id < rows[-1].id)).all()
    return found[:limit]


def may_decide(unit: Unit, approval: Approval) -> bool:
    """Whether a yes or no of the unit's actor would count now."""
    own = member_behind(unit, approval.id) in own_voices(unit)
    said = any(d["who"] == voice_of(unit.actor) for d in approval.decisions)
    resource = resource_of(unit, approval.id)
    named = not roles_of(acting(unit, resource)).isdisjoint(approval.required["from"])
    allowed = decide(unit, "approval.decide", resource).verdict == "allow"
    return approval.state == "pending" and named and allowed and not own and not said


def quorum(approval: Approval) -> Quorum:
    """How far the request is."""
    yes = len(in_favour(approval.decisions))
    still = missing(approval.required, approval.decisions)
    needed = max(int(approval.required["count"]), yes + still if "demands" in approval.required else 0)
    return Quorum(roles=approval.required["from"], needed=needed, given=yes, missing=still)
