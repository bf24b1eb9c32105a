"""People at the wheel: pause, go on, cancel, run again, answer; and what a verdict does to a run that waits for it."""

import sqlalchemy as sa

from builderos.core.operations import Reply
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.ledger import service as ledger
from builderos.trust.policy.service import Approval
from builderos.trust.vault import service as vault

from . import gates
from .course import Course
from .ending import finish
from .model import steps
from .reading import require, shown
from .rows import OVER, Row, find_run, live
from .schema import RunAnswerIn, RunControlIn, RunOut, RunRerunIn, RunStarted
from .starting import again


def cancel(unit: Unit, body: RunControlIn) -> Reply[RunOut]:
    """End a run: what runs is stopped with all its processes, what waits is given up. Raises `illegal_transition`."""
    run, rules = _locked(unit, body.id, OVER)
    course = Course(unit, run)
    course.stop("cancelled", vault.clean_text(unit, body.reason) or "cancelled by hand")
    finish(unit, course)
    _record(unit, "run.cancelled", run, body.reason, rules)
    return Reply(202, shown(unit, run.id))


def pause(unit: Unit, body: RunControlIn) -> Reply[RunOut]:
    """Begin nothing new; what runs comes to its end. Raises `illegal_transition`."""
    run, rules = _locked(unit, body.id, OVER)
    if run.paused:
        raise _not_now(run, ["resume", "cancel"])
    course = Course(unit, run)
    course.paused = course.values["paused"] = True
    finish(unit, course)
    _record(unit, "run.paused", run, body.reason, rules)
    return Reply(202, shown(unit, run.id))


def resume(unit: Unit, body: RunControlIn) -> Reply[RunOut]:
    """Go on with a paused run, or ask again what nobody has answered in time. Raises `illegal_transition`."""
    run, rules = _locked(unit, body.id, OVER)
    rows = unit.execute(
        sa.select(steps).where(steps.c.run_id == run.id, live()).order_by(steps.c.position)
    ).all()
    overdue = [row for row in rows if gates.is_overdue(row, unit.now)]
    if not run.paused and not overdue:
        raise _not_now(run, ["pause", "cancel"])
    course = Course(unit, run)
    course.paused = course.values["paused"] = False
    for row in rows if run.paused else ():
        if row.status == "pending":
            course.wake(row)
        elif row.status == "retrying":
            course.retry(row, max(row.next_at, unit.now))
    for row in overdue:
        gates.ask_again(unit, course, row)
    finish(unit, course)
    _record(unit, "run.resumed", run, body.reason, rules)
    return Reply(202, shown(unit, run.id))


def rerun(unit: Unit, body: RunRerunIn) -> Reply[RunStarted]:
    """Start a run like this one, from a step on. Raises `not_found`, `illegal_transition` while it still goes on."""
    run = find_run(unit, body.id)
    require(unit, "run.start", run)
    if run.status not in OVER:
        raise _not_now(run, ["pause", "cancel"])
    run_id = again(unit, run, body.from_step)
    text = f"Started {run.pipeline}@{run.version} again as {run_id}."
    return Reply(202, RunStarted(run_id=run_id, status="queued", message=text))


def answer(unit: Unit, body: RunAnswerIn) -> RunOut:
    """Answer what a run asks. Raises `not_found`, `validation_failed`, `illegal_transition`."""
    run = find_run(unit, body.id, lock=True)
    decision = require(unit, "run.answer", run)
    c = steps.c
    wanted = sa.select(steps).where(c.run_id == run.id, c.status == "waiting_input").order_by(c.position)
    asking = unit.execute(wanted).all()
    found = [row for row in asking if body.step in (None, row.name, row.id)]
    if not found:
        raise Problem(
            "illegal_transition", "this run asks nothing" if body.step is None else f"{body.step} asks nothing",
            hint="Look at the run.", allowed=[row.name for row in asking],
        )  # fmt: skip
    if len(found) > 1:
        raise Problem(
            "validation_failed", "this run asks several questions", hint="Say which one with step.",
            allowed=[row.name for row in found],
        )  # fmt: skip
    course = Course(unit, run)
    text = vault.clean_text(unit, body.answer)
    gates.answer(unit, course, found[0], text)
    finish(unit, course)
    payload = {"step": found[0].name, "step_id": found[0].id, "answer": text}
    ledger.record(unit, "run.answered", run.id, payload, rules=decision.rules)
    return shown(unit, run.id)


def on_verdict(unit: Unit, approval: Approval) -> None:
    """Somebody decided about an approval that steps wait for, in the reviewer's unit."""
    for step in gates.waiting_on(unit, approval.id):
        course = Course(unit, find_run(unit, step.run_id, lock=True))
        gates.on_verdict(unit, course, step, approval)
        finish(unit, course)


def _locked(unit: Unit, run_id: str, over: frozenset[str]) -> tuple[Row, tuple[str, ...]]:
    run = find_run(unit, run_id, lock=True)
    decision = require(unit, "run.control", run)
    if run.status in over:
        raise _not_now(run, ["rerun"])
    return run, decision.rules


def _not_now(run: Row, allowed: list[str]) -> Problem:
    said = run.status.replace("_", " ")
    return Problem(
        "illegal_transition", f"this run is {said}", hint="Look at its status first.", allowed=allowed
    )


def _record(unit: Unit, type_: str, run: Row, reason: str, rules: tuple[str, ...]) -> None:
    payload = {"pipeline": f"{run.pipeline}@{run.version}", "reason": reason}
    if run.repo_name:
        payload |= {"repo": run.repo_name, "branch": run.branch}
    ledger.record(unit, type_, run.id, payload, rules=rules)
