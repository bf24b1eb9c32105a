"""Rows of runs and steps: finding, locking, and the words for them."""

from dataclasses import asdict
from datetime import datetime
from typing import Any, Final, Literal

import sqlalchemy as sa

from builderos.core.actor import Actor, Grant
from builderos.core.problems import Problem
from builderos.core.unit import Call, Unit
from builderos.engine.durable import Task

from .model import runs, steps

RunStatus = Literal[
    "queued", "running", "waiting_approval", "waiting_input", "paused",
    "succeeded", "failed", "denied", "cancelled", "timed_out",
]  # fmt: skip
StepStatus = Literal[
    "pending", "running", "retrying", "waiting_approval", "waiting_input",
    "succeeded", "cached", "failed", "skipped", "denied", "cancelled", "timed_out",
]  # fmt: skip
Row = sa.Row[Any]

OVER: Final = frozenset({"succeeded", "failed", "denied", "cancelled", "timed_out"})
GOOD: Final = frozenset({"succeeded", "cached"})
ENDED: Final = frozenset({"succeeded", "cached", "failed", "skipped", "denied", "cancelled", "timed_out"})
NODE: Final = "node@1"
UNDO: Final = "undo@1"
QUEUE: Final = "steps"
DOOR: Final = "run"


def find_run(unit: Unit, run_id: str, *, lock: bool = False) -> Row:
    """The row of a run; raises `not_found`. `lock` holds it until the unit ends: whoever changes a run does."""
    row = unit.find(runs, run_id, lock=lock)
    if row is None:
        raise unknown_run()
    return row


def find_step(unit: Unit, step_id: str) -> Row:
    """The row of a step; raises `not_found`. Lock its run before you change it."""
    row = unit.find(steps, step_id)
    if row is None:
        raise unknown_step()
    return row


def find_both(unit: Unit, run_id: str, step_id: str) -> tuple[Row, Row]:
    """A run, locked, and one of its steps; raises `not_found`."""
    run, step = unit.find_all((runs, run_id, True), (steps, step_id, False))
    if run is None:
        raise unknown_run()
    if step is None:
        raise unknown_step()
    return run, step


def unknown_run() -> Problem:
    """The same for a run that there is not and for one that the caller may not know of."""
    return Problem("not_found", "there is no such run", hint="List the runs first.")


def unknown_step() -> Problem:
    """The same for a step that there is not and for one that the caller may not know of."""
    return Problem("not_found", "there is no such step", hint="Look at its run first.")


def set_run(unit: Unit, run_id: str, **values: Any) -> None:
    """Change columns of a run."""
    unit.change(runs, run_id, **values)


def set_step(unit: Unit, step_id: str, **values: Any) -> None:
    """Change columns of a step."""
    unit.change(steps, step_id, **values)


def live() -> sa.ColumnElement[bool]:
    """Steps that could run, run, or wait for something: not those that wait for other steps."""
    return sa.and_(steps.c.ready_at.is_not(None), steps.c.ended_at.is_(None))


def task_of(run: Any, step: Any, *, heavy: bool) -> Task:
    """The durable task that carries out a step's present turn."""
    return Task(
        f"{step.run_id}.{step.name}.{step.turn}", NODE, (step.org_id, step.run_id, step.id, step.turn),
        queue=QUEUE if heavy else "", partition=step.org_id, priority=max(1, run.priority),
    )  # fmt: skip


def undo_task(run: Any) -> Task:
    """The durable task that takes back what a run did."""
    return Task(f"{run.id}.~undo", UNDO, (run.org_id, run.id), partition=run.org_id)


def actor_json(actor: Actor) -> dict[str, Any]:
    """Who acts, as JSON."""
    return asdict(actor) | {"scopes": sorted(actor.scopes), "grants": [asdict(g) for g in actor.grants]}


def actor_of(data: dict[str, Any]) -> Actor:
    """What `actor_json` wrote."""
    grants = tuple(Grant(**grant) for grant in data["grants"])
    known: dict[str, Any] = {**data, "scopes": frozenset(data["scopes"]), "grants": grants}
    return Actor(**known)


def call_of(run: Row, tool: str = "") -> Call:
    """On whose behalf the steps of a run act."""
    return Call(actor=actor_of(run.actor), presented="valid", request_id=run.id, tool=tool, door=DOOR)


def seconds_left(run: Row, now: datetime) -> float:
    """Until the run's own deadline."""
    return (run.deadline_at - now).total_seconds()
