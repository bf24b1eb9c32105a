"""Which run a reading call is about, and whether the actor may see it: the first line of every such verb."""

from typing import Final

import sqlalchemy as sa

from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.policy import service as policy

from .model import runs, steps
from .reading import resource_of
from .rows import Row, find_step, unknown_run, unknown_step

_LEAN: Final = [column for column in runs.c if column.name != "definition"]


def seen_run(unit: Unit, run_id: str) -> Row:
    """The row of a run that the actor may see, without its definition, which may be long.

    Raises `not_found`, also for the run of another one's sandbox.
    """
    run = unit.execute(sa.select(*_LEAN).where(runs.c.id == run_id)).one_or_none()
    if run is None:
        raise unknown_run()
    try:
        policy.require(unit, "run.read", resource_of(unit, run))
    except policy.Refused as refused:
        if refused.code not in ("forbidden_branch", "not_found"):
            raise
        raise unknown_run() from None
    return run


def seen_step(unit: Unit, step_id: str) -> tuple[Row, Row]:
    """The rows of a step that the actor may see, and of its run. Raises `not_found`."""
    step = find_step(unit, step_id)
    try:
        return seen_run(unit, step.run_id), step
    except Problem as problem:
        if problem.code == "not_found":
            raise unknown_step() from None
        raise


def line_of(unit: Unit, run_id: str) -> list[str]:
    """A run and the ones that it does again, itself first; at most ten."""
    found = [run_id]
    while len(found) < 10:
        again = unit.execute(sa.select(runs.c.rerun_of).where(runs.c.id == found[-1])).scalar_one_or_none()
        if again is None or again in found:
            break
        found.append(again)
    return found


def steps_of(unit: Unit, run_id: str, *, behind: int, limit: int) -> list[Row]:
    """Steps of a run behind a position, in their order.

    Positions have no gaps: a range says exactly how much is to be read, whatever the database believes of the table.
    """
    c = steps.c
    wanted = sa.select(steps).where(c.run_id == run_id, c.position > behind, c.position <= behind + limit)
    return list(unit.execute(wanted.order_by(c.position)))
