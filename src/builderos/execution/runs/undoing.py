"""Take back what a run did, newest first, before it ends: `on_fail: rollback`."""

import functools

import sqlalchemy as sa

from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.steps import Actions
from builderos.core.unit import Unit, perform

from .callers import Callers
from .course import Course
from .ending import finish
from .model import steps
from .rows import GOOD, Row, find_run, set_step
from .stepping import patiently
from .working import action_of, work_of


async def undo(context: Context, org_id: str, run_id: str) -> None:
    """The durable function `undo@1`: one unit for each step, so that a crash takes none back twice."""
    call = context.get(Callers).of(context, org_id, run_id)
    while True:
        done = await patiently(context, lambda: perform(context, call, functools.partial(_next, run_id)))
        if done is None:
            return
        step_id, problem = done
        if problem is not None:
            note = functools.partial(_impossible, run_id, step_id, problem)
            await patiently(context, lambda note=note: perform(context, call, note))


def _next(run_id: str, unit: Unit) -> tuple[str, Problem | None] | None:
    """Take back the newest step that is not; end the run where there is none. What cannot be is told."""
    run = find_run(unit, run_id, lock=True)
    if run.ended_at is not None:
        return None
    c = steps.c
    wanted = sa.select(steps).where(c.run_id == run_id, c.status.in_(sorted(GOOD)), c.undone.is_(False))
    step = unit.execute(wanted.order_by(c.ended_at.desc(), c.position.desc()).limit(1)).one_or_none()
    if step is None:
        finish(unit, Course(unit, run))
        return None
    try:
        _take_back(unit, run, step)
    except Problem as problem:
        if problem.code in ("busy", "unavailable"):
            raise
        return step.id, problem
    set_step(unit, step.id, undone=True)
    return step.id, None


def _take_back(unit: Unit, run: Row, step: Row) -> None:
    name, actions = action_of(step.spec), unit.get(Actions)
    undo_ = actions.get(name).undo if name in actions else None
    if undo_ is not None:
        undo_(unit, work_of(unit, run, step, name, step.attempt, step.input_tree or "", []), step.result)


def _impossible(run_id: str, step_id: str, problem: Problem, unit: Unit) -> None:
    run = find_run(unit, run_id, lock=True)
    course = Course(unit, run)
    course.detail = f"{course.detail}; not taken back: {problem.detail}"[:2000]
    set_step(unit, step_id, undone=True)
    finish(unit, course)
