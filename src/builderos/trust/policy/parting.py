"""What becomes of undecided requests when a member leaves."""

import sqlalchemy as sa

from builderos.core.unit import Unit

from .approvals import set_state
from .model import approvals
from .terms import in_favour


def objects_asked_by(unit: Unit, member_id: str) -> list[str]:
    """Ids of what a member asked approvals for, in person or through a workspace."""
    wanted = sa.select(approvals.c.object).where(approvals.c.requested_member == member_id)
    return list(unit.execute(wanted.distinct()).scalars())


def end_of(unit: Unit, member_id: str) -> int:
    """Take a member who leaves out of everything undecided: own requests are cancelled, and a yes to those of others
    counts no more. Returns how many were cancelled.
    """
    c = approvals.c
    waiting = sa.select(c.id, c.decisions).where(c.state == "pending").with_for_update()
    for row in unit.execute(waiting).all():
        if member_id in in_favour(row.decisions):
            kept = [
                {**d, "void": "the membership ended"} if d["who"] == member_id else d for d in row.decisions
            ]
            unit.execute(sa.update(approvals).where(c.id == row.id).values(decisions=kept))
    wanted = sa.select(c.id).where(c.requested_member == member_id, c.state == "pending")
    found = unit.execute(wanted).scalars().all()
    for id_ in found:
        set_state(unit, id_, "cancelled")
    return len(found)
