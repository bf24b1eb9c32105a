"""One step, carried out: begin it in a unit, do it, end it in a unit together with all that follows from it.

The function is durable in that it looks first: whoever takes over after a crash finds in the rows how far it came.
"""

import asyncio
import functools
import logging
import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final, TypeVar

import psycopg
from sqlalchemy.exc import SQLAlchemyError

from builderos.core.context import Context
from builderos.core.database import Retry
from builderos.core.problems import Problem
from builderos.core.steps import Action, Actions, Done, Work
from builderos.core.unit import Unit, perform
from builderos.engine.durable import Durable

from . import attempt, gates, spans
from .callers import Callers
from .course import Course, given_up
from .definition import Retries, node_of
from .ending import finish
from .rows import GOOD, OVER, Row, find_both, find_step, set_step
from .trees import input_of
from .wanting import filled
from .working import action_of, needs_of, spend, values_of, work_of

T = TypeVar("T")
log = logging.getLogger("builderos.runs")
_LOST_AT_MOST: Final = 5
_PAUSES_S: Final = (0.05, 0.1, 0.25, 0.5, 1.0)
_PASSING: Final = frozenset({"unavailable", "busy", "storage_full"})


@dataclass(frozen=True, slots=True)
class Begun:
    """An attempt that is to be made outside of any unit; None in its place: there is nothing to do."""

    work: Work
    action: Action


async def node(context: Context, org_id: str, run_id: str, step_id: str, turn: int) -> None:
    """The durable function `node@1`."""
    with spans.turn(run_id, step_id):
        await _turn(context, org_id, run_id, step_id, turn)


async def _turn(context: Context, org_id: str, run_id: str, step_id: str, turn: int) -> None:
    durable = context.get(Durable)
    me = Stepper(context, org_id, run_id, step_id, turn)
    begun = await patiently(context, me.begin)
    if begun is None:
        return
    try:
        done = await attempt.made(context, begun.action, begun.work)
    except asyncio.CancelledError:
        if not durable.here:
            raise
        await patiently(context, functools.partial(me.interrupted, begun.work))
        return
    await patiently(context, functools.partial(me.end, begun.work, done))


async def elsewhere(context: Context, org_id: str, run_id: str, step_id: str, turn: int) -> None:
    """`node@1` in a process that does not serve its queue: another turn of the step, for those who do."""
    me = Stepper(context, org_id, run_id, step_id, turn)
    await patiently(context, me.hand_on)


async def patiently(context: Context, work: Callable[[], T]) -> T:
    """Do it on a thread; while the database is away, again."""
    durable, tried = context.get(Durable), 0
    while True:
        await durable.assured()
        try:
            return await durable.unit(work)
        except Problem as problem:
            if problem.code not in _PASSING:
                raise
            await asyncio.sleep(_PAUSES_S[min(tried, len(_PAUSES_S) - 1)])
            tried += 1
            if not durable.here:
                raise asyncio.CancelledError from problem


def _in_unit(act: Callable[[Unit, Work], Done], unit: Unit, work: Work) -> Done:
    """Do it here. A fault of what the step was to do is the step's, as it is outside: else it would begin for ever."""
    try:
        with spans.doing(f"tool {work.action}", work) as span:
            try:
                return act(unit, work)
            except Problem as problem:
                spans.refused(span, problem)
                raise
    except (Problem, Retry, psycopg.Error, SQLAlchemyError):
        raise
    except Exception as error:
        log.exception("the attempt %s failed", work.name_of_attempt)
        raise Problem(
            "internal", f"{type(error).__name__}: {error}"[:500], hint="See the server's log."
        ) from error


class Stepper:
    """One turn of one step."""

    def __init__(self, context: Context, org_id: str, run_id: str, step_id: str, turn: int) -> None:
        self._context = context
        self._org_id = org_id
        self._run_id = run_id
        self._step_id = step_id
        self._turn = turn
        # Fencing: whoever carries the step out writes its word into the row; who finds another there writes nothing.
        self._claim = secrets.token_hex(8)

    # ---------------------------------------------------------------- units, on a thread

    def begin(self) -> Begun | None:
        """Begin the attempt, and end it in the same unit where it is short."""
        callers = self._context.get(Callers)
        try:
            call = callers.of(self._context, self._org_id, self._run_id)
            return perform(self._context, call, self._begin, durable=False)
        except Problem as problem:
            if problem.code in _PASSING:
                raise
            call = callers.recorded(self._context, self._org_id, self._run_id)
            return perform(self._context, call, functools.partial(self._refused, problem))

    def end(self, work: Work, done: Done) -> None:
        """Record how the attempt ended, and what follows."""
        perform(self._context, work.call, functools.partial(self._end, work, done), durable=False)

    def interrupted(self, work: Work) -> None:
        """The attempt was cut off: its run is over or its time is."""
        perform(self._context, work.call, functools.partial(self._cut_off, work))

    def hand_on(self) -> None:
        """Have the step started anew."""
        call = self._context.get(Callers).of(self._context, self._org_id, self._run_id)
        perform(self._context, call, self._hand_on)

    # ---------------------------------------------------------------- verbs

    def _hand_on(self, unit: Unit) -> None:
        run, step = self._rows(unit)
        if step is not None:
            course = Course(unit, run)
            # The same attempt, where one had begun: whoever goes on with it closes what the dead process left open.
            course.retry(step, unit.now, status=step.status)
            finish(unit, course)

    def _begin(self, unit: Unit) -> Begun | None:
        run, step = self._rows(unit)
        if step is None:
            return None
        course = Course(unit, run)
        if course.stopping:
            course.end(step, given_up(run.reason, step), reason="stopped")
            finish(unit, course)
            return None
        if run.paused and step.status != "running":
            return None
        name = action_of(step.spec)
        node = node_of(step.spec)
        unit.call = replace(unit.call, tool=f"{name}@1")
        spend(unit, run)
        if name in ("approval", "question"):
            needs = needs_of(unit, step)
            gates.ask(
                unit, course, step, filled(unit, run, node, step.spec), input_of(unit, run, step, needs)
            )
            finish(unit, course)
            return None
        actions = unit.get(Actions)
        if name not in actions:
            raise Problem("not_found", f"there is no action {name}", hint="Correct the pipeline.")
        action = actions.get(name)
        needs = needs_of(unit, step)
        again = step.status == "running"
        tree = step.input_tree if again else "" if action.apart else input_of(unit, run, step, needs)
        number = step.attempt if again else step.attempt + 1
        work = work_of(unit, run, step, name, number, tree, needs, on_files=bool(action.queue))
        if again:
            set_step(unit, step.id, claim=self._claim)
        else:
            course.begin(step, input_tree=tree, claim=self._claim)
        if action.in_unit is None:
            course.close()
            return Begun(work, action)
        if action.lasting:
            unit.outlast()
        done = _in_unit(action.in_unit, unit, work)
        self._record(unit, course, step, work, done)
        return None

    def _refused(self, problem: Problem, unit: Unit) -> None:
        """What the step was to do in its unit was refused: the attempt failed, or waits for a yes."""
        run, step = self._rows(unit)
        if step is None:
            return
        course = Course(unit, run)
        if step.status != "running":
            course.begin(step)
            step = find_step(unit, step.id)
        work = work_of(unit, run, step, action_of(step.spec), step.attempt, "", [])
        self._record(unit, course, step, work, attempt.failure(problem))

    def _end(self, work: Work, done: Done, unit: Unit) -> None:
        run, step = self._rows(unit)
        if step is None or not self._is_mine(step, work):
            return
        self._record(unit, Course(unit, run), step, work, done)

    def _cut_off(self, work: Work, unit: Unit) -> None:
        run, step = self._rows(unit)
        if step is None or not self._is_mine(step, work):
            return
        course = Course(unit, run)
        if course.stopping:
            course.end(step, given_up(run.reason, step), reason="stopped")
        else:
            course.retry(step, unit.now, reason="lost", error="the attempt was interrupted")
        finish(unit, course)

    def _record(self, unit: Unit, course: Course, step: Row, work: Work, done: Done) -> None:
        attempt.record(unit, work, done)
        if done.status in GOOD:
            done = gates.passed(unit, work, done)
        values = values_of(step, work, done)
        if self._parked(unit, course, step, work, done, values):
            finish(unit, course)
            return
        pause = retry_pause(step, work, done)
        if course.stopping:
            pause = None
        if pause is not None:
            lost = done.reason == "lost"
            values |= {"reason": done.reason, "tries": step.tries + (0 if lost else 1)}
            course.retry(step, unit.now + timedelta(seconds=pause), **values)
        else:
            course.end(step, done.status, reason=done.reason, **values)
            if done.reason == "budget":
                course.stop("failed", done.error)
        if done.commit_sha is not None:
            course.values["commits"] = [*course.run.commits, done.commit_sha]
        if done.result.get("preview_url"):
            course.values["preview_url"] = done.result["preview_url"]
        finish(unit, course)

    def _parked(
        self, unit: Unit, course: Course, step: Row, work: Work, done: Done, values: dict[str, Any]
    ) -> bool:
        """Whether the step waits for somebody now: for a yes to what it was about to do, or to what it has done."""
        approval_id = done.result.get("approval_id") if done.reason == "policy" else None
        if approval_id is not None and not course.stopping:
            set_step(unit, step.id, **values)
            waiting = {"kind": "approval", "message": done.error, "approval_id": approval_id}
            gates.park_on(unit, course, step, approval_id, waiting)
            return True
        if done.question is not None and not course.stopping:
            set_step(unit, step.id, **values)
            gates.ask_in_work(unit, course, find_step(unit, step.id), done.question)
            return True
        if done.status not in GOOD or course.stopping:
            return False
        if not any(gate.kind in gates.HUMAN for gate in work.node.gates):
            return False
        set_step(unit, step.id, **values)
        return gates.ask_next(unit, course, find_step(unit, step.id), work.node, -1)

    def _is_mine(self, step: Row, work: Work) -> bool:
        """Whether this is still the execution that counts: nobody has taken the step over."""
        return step.status == "running" and step.attempt == work.attempt and step.claim == self._claim

    def _rows(self, unit: Unit) -> tuple[Row, Row | None]:
        """The run, locked, and the step; None where this turn of it has nothing to do any more."""
        run, step = find_both(unit, self._run_id, self._step_id)
        if step.turn != self._turn or step.ended_at is not None or run.status in OVER:
            return run, None
        return run, step if step.status in ("pending", "running", "retrying") else None


def retry_pause(step: Row, work: Work, done: Done) -> float | None:
    """Seconds until another attempt; None where there is none."""
    if done.status not in ("failed", "timed_out") or not done.retry:
        return None
    if done.reason == "lost":  # nobody's fault: it does not count
        lost = step.attempt - step.tries
        return 0.1 * 2**lost if lost <= _LOST_AT_MOST else None
    retries: Retries = work.node.retries
    if step.tries >= retries.max:
        return None
    pause = min(retries.most_s, retries.backoff_s * retries.factor**step.tries)
    return pause * (1 + random.uniform(-retries.jitter, retries.jitter))  # noqa: S311
