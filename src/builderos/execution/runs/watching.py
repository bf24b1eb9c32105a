"""Looking after what was never started, came to its time, or lost its task: the rows say what should go on."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.problems import Problem
from builderos.core.unit import Unit, as_system
from builderos.engine.durable import Durable, Task

from . import ending
from .course import Course
from .ending import finish
from .model import runs, steps
from .rows import Row, find_run, live, task_of
from .working import is_heavy

log = logging.getLogger("builderos.runs")
_GRACE: Final = timedelta(seconds=2)
_WHOLE_S: Final = 60.0
_AT_ONCE: Final = 500
_CARRIED_OUT: Final = frozenset({"pending", "running", "retrying"})


class Watch:
    """One process's look at the runs of all organisations; quick each time the bell rings, whole at times."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._whole_at = 0.0

    def look(self, context: Context) -> None:
        """Start what should go on and that nobody carries out. Safe to do in many processes at once."""
        durable = context.get(Durable)
        if not durable.here or not self._lock.acquire(blocking=False):
            return
        try:
            whole = time.monotonic() >= self._whole_at
            each(orgs_with_runs(context), lambda org_id: self._visit(context, org_id, whole=whole))
            if whole:
                self._whole_at = time.monotonic() + _WHOLE_S
        finally:
            self._lock.release()

    def _visit(self, context: Context, org_id: str, *, whole: bool) -> None:
        for run_id in as_system(context, org_id, _overdue, read_only=True):
            as_system(context, org_id, lambda unit, run_id=run_id: time_out(unit, run_id))
        for group in as_system(context, org_id, _held, read_only=True) if whole else ():
            as_system(context, org_id, lambda unit, group=group: ending.admit(unit, group))
        found = as_system(context, org_id, lambda unit: _due(unit, whole=whole), read_only=True)
        if not found:
            return
        standings = context.get(Durable).standings([task.id for _, task in found])
        context.get(Durable).start_soon([task for _, task in found if standings[task.id] == "unknown"])
        ended = [(step_id, task) for step_id, task in found if standings[task.id] == "ended"]
        for step_id, task in ended:
            as_system(context, org_id, lambda unit, s=step_id, t=task: _again(unit, s, t))


def each(orgs: Iterable[str], visit: Callable[[str], None]) -> None:
    """Visit all organisations: what goes wrong in one keeps no other waiting. Raises the last of it afterwards, and at
    once where the database is away.
    """
    failed: Exception | None = None
    for org_id in orgs:
        try:
            visit(org_id)
        except Exception as error:
            if isinstance(error, Problem) and error.code == "unavailable":
                raise
            log.exception("the runs of %s could not be looked after", org_id)
            failed = error
    if failed is not None:
        raise failed


def orgs_with_runs(context: Context) -> list[str]:
    """Organisations with runs that are not over."""
    with context.get(Database).as_server() as connection:
        return [str(row[0]) for row in connection.execute("select ops.orgs_with_runs()")]


def time_out(unit: Unit, run_id: str) -> None:
    """End a run whose time is over, whatever it is doing or waiting for."""
    run = find_run(unit, run_id, lock=True)
    if run.ended_at is not None or run.deadline_at > unit.now:
        return
    course = Course(unit, run)
    course.stop("timed_out", "the time of the run was over")
    finish(unit, course)


def _held(unit: Unit) -> list[str]:
    c = runs.c
    wanted = sa.select(c.group_name).where(c.org_id == unit.org_id, c.ended_at.is_(None), c.held).distinct()
    return [str(name) for name in unit.execute(wanted).scalars()]


def _overdue(unit: Unit) -> list[str]:
    c = runs.c
    wanted = sa.select(c.id).where(
        c.org_id == unit.org_id,
        c.ended_at.is_(None),
        c.deadline_at <= unit.now,
        c.reason.is_distinct_from("timed_out"),
    )
    return list(unit.execute(wanted.limit(_AT_ONCE)).scalars())


def _due(unit: Unit, *, whole: bool) -> list[tuple[str, Task]]:
    """Steps that should be carried out by somebody, with the task that does it."""
    since = unit.now - _GRACE
    due = sa.or_(
        sa.and_(steps.c.status == "pending", steps.c.ready_at <= since),
        sa.and_(steps.c.status == "retrying", steps.c.next_at <= since),
    )
    if whole:
        due = sa.or_(
            steps.c.status.in_(["pending", "running"]),
            sa.and_(steps.c.status == "retrying", steps.c.next_at <= unit.now),
        )
    wanted = (
        sa.select(steps, runs.c.priority)
        .join(runs, runs.c.id == steps.c.run_id)
        .where(steps.c.org_id == unit.org_id, live(), due, runs.c.paused.is_(False))
        .order_by(steps.c.id)
        .limit(_AT_ONCE)
    )
    return [(row.id, task_of(row, row, heavy=is_heavy(unit, row.spec))) for row in unit.execute(wanted)]


def _again(unit: Unit, step_id: str, task: Task) -> None:
    """The task of a step ended without ending the step, e.g. because the engine forgot it: another turn."""
    row: Row | None = unit.execute(sa.select(steps).where(steps.c.id == step_id)).one_or_none()
    if row is None:
        return
    run: Any = find_run(unit, row.run_id, lock=True)
    step = unit.execute(sa.select(steps).where(steps.c.id == step_id)).one()
    # Its task may have ended as it should, a moment after it was looked for: a step that waits is not woken.
    if step.status not in _CARRIED_OUT or task.id != task_of(run, step, heavy=False).id:
        return
    log.warning("the step %s of %s had no task any more; it goes on", step.name, run.id)
    course = Course(unit, run)
    if step.status == "running":
        course.retry(step, unit.now, reason="lost")
    else:
        course.wake(step)
    finish(unit, course)
