"""All stores of an installation into the place that other machines reach, and the proof that they can be had there."""

import sqlalchemy as sa

from builderos.core.context import Context
from builderos.core.unit import Unit, as_system

from .branches import branch_by_id
from .journal import ready, unborn
from .model import branches
from .nodes import give_store
from .store import RepositoryStore


def give_all(context: Context, org_id: str) -> int:
    """Give every store of an organisation; returns how many there were. Safe to repeat."""

    def give(unit: Unit, branch_id: str) -> bool:
        branch = branch_by_id(unit, branch_id)
        if unborn(unit.get(RepositoryStore), branch):
            return False
        ready(unit, branch)
        return give_store(unit, branch)

    ids = as_system(context, org_id, _active, read_only=True)
    return sum(as_system(context, org_id, lambda unit, id_=id_: give(unit, id_)) for id_ in ids)


def open_all(context: Context, org_id: str) -> int:
    """Open every branch here, wherever its objects come from; returns how many there are. Raises `unavailable`."""
    ids = as_system(context, org_id, _active, read_only=True)
    for id_ in ids:
        as_system(context, org_id, lambda unit, id_=id_: ready(unit, branch_by_id(unit, id_)))
    return len(ids)


def _active(unit: Unit) -> list[str]:
    """Main first: the others stand on it."""
    c = branches.c
    order = sa.case({"main": 0, "base": 1}, value=c.kind, else_=2)
    return list(unit.execute(sa.select(c.id).where(c.state == "active").order_by(order, c.id)).scalars())
