"""What runs leave behind and nobody asks for again: marks of triggers, trees for others, executions, names."""

import logging
from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from builderos.assets.repositories import service as repositories
from builderos.core.context import Context
from builderos.core.unit import Unit, as_system
from builderos.execution.compute import service as compute

from . import local_artifacts
from .model import runs, steps
from .triggers_model import firings

log = logging.getLogger("builderos.runs")
REMEMBERED: Final = timedelta(days=30)  # occasions of triggers, ids of deliveries
KEPT: Final = timedelta(days=30)  # trees that other machines may need, counted from when they were made


def tidy(context: Context, org_id: str) -> dict[str, int]:
    """Take away what its time is over of; returns how much of each. Safe to repeat, and on many machines at once."""
    gone = {
        "firings": as_system(context, org_id, sweep_firings),
        "trees": as_system(context, org_id, forget_trees),
        "executions": compute.forget_ended(context, org_id),
        "names": local_artifacts.sweep(context, org_id),
    }
    if any(gone.values()):
        log.info("runs were tidied: %s", gone)
    return gone


def sweep_firings(unit: Unit) -> int:
    """Forget which occasions have started runs, long after they cannot come again."""
    old = sa.delete(firings).where(firings.c.at < unit.now - REMEMBERED)
    return unit.execute(old).rowcount


def forget_trees(unit: Unit) -> int:
    """Let go of trees of old runs that no other machine can need; their bytes go with the store's next tidying.

    What a run that is not over has made or goes on from stays, however old. Machines that have a tree keep it.
    """
    open_ones = sa.select(runs.c.id).where(runs.c.ended_at.is_(None))
    c = steps.c
    columns = (c.input_tree, c.output_tree)
    used = sa.union(
        *(sa.select(column).where(c.run_id.in_(open_ones), column.is_not(None)) for column in columns),
        sa.select(runs.c.base_tree).where(runs.c.ended_at.is_(None), runs.c.base_tree.is_not(None)),
    )
    return repositories.forget_run_trees(unit, unit.now - KEPT, set(unit.execute(used).scalars()))
