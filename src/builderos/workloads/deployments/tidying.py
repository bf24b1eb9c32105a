"""What nobody needs any more: files of old versions, previews of branches that are gone."""

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from builderos.assets.repositories import service as repositories
from builderos.core.context import Context
from builderos.core.unit import Unit, as_system
from builderos.engine import signals
from builderos.execution.runs import service as runs

from . import releasing, rows
from .care import Care
from .model import deployments, places

KEPT: Final = 5  # versions of a place whose files stay; older ones are laid out again where they are wanted
_FORGOTTEN: Final = timedelta(days=1)
_AT_ONCE: Final = 500


def tidy(context: Context, org_id: str) -> None:
    """For the engine, each hour."""
    for folder in as_system(context, org_id, _tidied):
        marker = runs.workspace.marker_of(folder)
        marker.unlink(missing_ok=True)  # first: half of a folder does not count as laid out
        shutil.rmtree(folder.parent, ignore_errors=True)


def erase(context: Context, org_id: str) -> None:
    """End what any process serves of an organisation that is erased; safe to repeat."""
    context.get(Care).forget(org_id)
    as_system(context, org_id, lambda unit: signals.tell(unit, rows.WORD, f"{org_id} "))


def _tidied(unit: Unit) -> list[Path]:
    """End previews whose branch is gone and attempts that nobody goes on with; the folders that may go."""
    live = sa.select(places.c.current_id, places.c.branch_id).where(
        places.c.current_id.is_not(None), places.c.branch_id.is_not(None)
    )
    for place in unit.execute(live).all():
        if repositories.branch_by_id(unit, place.branch_id).state in ("archived", "deleted"):
            rows.end(unit, place.current_id, "branch_gone")
    c = deployments.c
    stuck = sa.select(c.id).where(c.status.in_(rows.UNDER_WAY), c.created_at < unit.now - _FORGOTTEN)
    for row in unit.execute(stuck.limit(_AT_ONCE)).all():
        rows.fail(unit, row.id, "lost", "nobody went on with it")
    newer = deployments.alias()
    after = sa.select(sa.func.count()).where(newer.c.place_id == c.place_id, newer.c.number > c.number)
    old = sa.select(deployments).where(
        c.status.in_(("failed", "superseded", "rolled_back")), c.ended_at < unit.now - timedelta(hours=1),
        sa.or_(c.status == "failed", after.scalar_subquery() >= KEPT),
    )  # fmt: skip
    found = unit.execute(old.order_by(c.id.desc()).limit(_AT_ONCE)).all()
    return [folder for row in found if (folder := releasing.folder_of(unit, row)).parent.exists()]
