"""What ends by itself: terms that are over, what was removed long ago, words of people who are erased."""

from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from builderos.core.actor import system_actor
from builderos.core.context import Context
from builderos.core.ids import new_id
from builderos.core.unit import Call, Unit, as_system
from builderos.trust.audit import service as audit
from builderos.trust.ledger import service as ledger

from . import files, vectors
from .files import Files
from .model import memory_history as history
from .model import memory_items as items
from .model import memory_space as space

KEPT: Final = timedelta(days=30)  # of what was removed
_AT_ONCE: Final = 5000


def sweep(unit: Unit) -> int:
    """Remove what expired, and what was removed 30 days ago, unless a legal hold keeps it; returns how many items."""
    c = items.c
    over = sa.and_(c.expires_at <= unit.now, ~c.pinned)
    ended = sa.or_(over, c.deleted_at <= unit.now - KEPT)
    authors = unit.execute(sa.select(c.created_by).where(ended).distinct()).scalars().all()
    held = [who for who in authors if audit.keeping.held_by(unit, who) is not None]
    wanted = sa.select(c.id).where(ended, c.created_by.not_in(held)).limit(_AT_ONCE)
    gone = unit.execute(sa.delete(items).where(c.id.in_(wanted)).returning(c.repo_id, c.agent)).all()
    if not gone:
        return 0
    unit.execute(sa.update(space).values(held=sa.func.greatest(space.c.held - len(gone), 0)))
    for repo_id, agent in {(row.repo_id, row.agent) for row in gone}:
        unit.get(Files).note(unit, repo_id, agent)
    ledger.record(unit, "memory.swept", unit.org_id, {"items": len(gone)})
    return len(gone)


def tidy(context: Context, org_id: str) -> int:
    """What the schedule does: sweep, write files that a killed process did not, make vectors that are missing."""
    total = 0
    while swept := as_system(context, org_id, sweep):
        total += swept
    files.catch_up(context, org_id)
    embed_stale(context, org_id)
    return total


def embed_stale(context: Context, org_id: str) -> int:
    """Make vectors for items that have none of today's model. Raises what the model raises; returns how many."""
    call = Call(
        actor=system_actor(org_id), presented="valid", request_id=new_id("req"), tool="server", door="engine"
    )
    done = 0
    while waiting := as_system(
        context, org_id, lambda unit: vectors.stale(unit, (), vectors.BATCH * 8), read_only=True
    ):
        made = vectors.fill(context, call, waiting)
        done += made
        if not made:
            break
    return done


def forget_person(unit: Unit, who: str) -> int:
    """Remove what somebody put into the memory, and its history; returns how many texts."""
    mine = sa.or_(items.c.created_by == who, items.c.changed_by == who)
    by = sa.select(history.c.item_id).where(history.c.by == who)
    affected = [row.id for row in unit.execute(sa.select(items.c.id).where(sa.or_(mine, items.c.id.in_(by))))]
    count = 0
    for id_ in affected:
        count += _forget(unit, id_, who)
    return count


def _forget(unit: Unit, id_: str, who: str) -> int:
    """An item that others have changed since stays as they left it; their versions stay in its history."""
    row: Any = unit.execute(sa.select(items).where(items.c.id == id_).with_for_update()).one()
    unit.get(Files).note(unit, row.repo_id, row.agent)
    if row.changed_by == who:
        ledger.record(unit, "memory.removed", id_, {"repo_id": row.repo_id, "tier": row.tier})
        unit.execute(sa.delete(items).where(items.c.id == id_))
        unit.execute(sa.update(space).values(held=sa.func.greatest(space.c.held - 1, 0)))
        return 1
    gone = unit.execute(sa.delete(history).where(history.c.item_id == id_, history.c.by == who))
    return gone.rowcount
