"""What follows when a step has ended: which steps may run now, which never will, how the run stands.

Everything is worked out in the transaction that ends the step, under the lock of the run's row, at the cost of the
steps that hang on it. The engine is told afterwards; what it was not told is found by looking (`watching`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from builderos.core.problems import Problem
from builderos.core.steps import Companions
from builderos.core.unit import Unit
from builderos.engine import signals
from builderos.engine.durable import Durable, Task

from . import events, spans
from .definition import node_of
from .model import runs, steps
from .rows import GOOD, Row, live, task_of, undo_task
from .trees import input_of
from .wanting import decision
from .working import action_of, is_heavy, needs_of, quick, values_of, work_of

INTERRUPT: Final = "interrupt"
WAKE: Final = "runs"
_AT_ONCE: Final = 16
_STOPPING: Final = frozenset({"denied", "cancelled", "timed_out"})
_WAITING: Final = frozenset({"waiting_approval", "waiting_input"})


@dataclass(frozen=True, slots=True)
class Unborn:
    """Rows of a run that are not inserted yet: what becomes of it in the same unit is written with them."""

    run: dict[str, Any]
    steps: dict[str, dict[str, Any]]


class Course:
    """The way of one run through one unit. Make it of the locked row; `close` writes how the run stands then.

    `written`: the steps of a run that was inserted when it was closed, as they are then.
    """

    def __init__(self, unit: Unit, run: Row, unborn: Unborn | None = None) -> None:
        self.unit = unit
        self.run = run
        self.status: str = run.status
        self.reason: str | None = run.reason
        self.detail: str = run.detail
        self.lanes: str = run.lanes
        self.open = int(run.open_steps)
        self.paused = bool(run.paused)
        self.tasks: list[Task] = []
        self.later: list[tuple[Task, datetime]] = []
        self.values: dict[str, Any] = {}
        self._ended: list[Any] = []
        self._parked = False
        self.asked: list[dict[str, str]] = []
        self.told: list[tuple[str, str, dict[str, Any]]] = []  # what companions have for the ledger
        self.written: list[dict[str, Any]] | None = None
        self._unborn = unborn
        self._gathered: dict[str, dict[str, Any]] = {}
        self._at_once = 0

    @property
    def stopping(self) -> bool:
        """Whether nothing new begins any more, but what asked to run even then."""
        return self.reason in _STOPPING or (self.reason == "failed" and self.lanes == "fail_fast")

    # ---------------------------------------------------------------- steps

    def begin(self, step: Row, **values: Any) -> None:
        """Another attempt of a step begins."""
        now = self.unit.now
        values = {"status": "running", "attempt": step.attempt + 1, "next_at": None, **values}
        values["started_at"] = step.started_at or now
        values["logs_ref"] = f"logs/{step.run_id}/{step.name}.{values['attempt']}.log"
        self._set(step.id, values)
        self._tell("step.started", step, "running", attempt=values["attempt"])
        if self.run.started_at is None and "started_at" not in self.values:
            self.values["started_at"] = now
            self._announce("run.started", "running")
        self.status = "running"

    def end(self, step: Any, status: str, **values: Any) -> None:
        """A step is over. Call `settle` when all that ended in this unit is said."""
        self._set(step.id, {"status": status, "ended_at": self.unit.now, "next_at": None, **values})
        spans.step_ended(self.unit, step, status, values)
        companions = self.unit.get(Companions)
        if step.action in companions and step.spec.get("replay") is None:
            self.told += companions.get(step.action).ended(self.unit, step, status)
        ended = _Ended(step, status, values.get("reason"))
        self._ended.append(ended)
        self.open -= 1
        self._tell("step.skipped" if status == "skipped" else "step.ended", step, status, reason=ended.reason)

    def retry(self, step: Row, at: datetime, **values: Any) -> None:
        """A step is tried again at a time."""
        turn = step.turn + 1
        self._set(step.id, {"status": "retrying", "turn": turn, "next_at": at, **values})
        self._tell("step.retrying", step, "retrying", next_at=at.isoformat())
        self.later.append((self._task(_Turned(step, turn)), at))

    def park(self, step: Row, status: str, **values: Any) -> None:
        """A step waits for somebody, for however long; nothing of it is kept anywhere but in its row."""
        self._set(step.id, {"status": status, **values})
        self._tell("step.waiting", step, status)
        self._parked = True
        if status == "waiting_input":
            question = values["waiting"]["id"]
            self.asked.append({"question": question, "step": step.name, "step_id": step.id})

    def wake(self, step: Row, **values: Any) -> None:
        """A step goes on: another turn."""
        turn = step.turn + 1
        self._set(step.id, {"status": "pending", "turn": turn, "next_at": None, **values})
        if not self.paused:
            self.tasks.append(self._task(_Turned(step, turn)))

    def stop(self, reason: str, detail: str = "") -> None:
        """The run ends so. What runs is interrupted, what waits is given up; who wants to run even then still may."""
        self.reason = self.reason if self.stopping and self.reason != "failed" else reason
        self.detail = self.detail or detail
        if not self.stopping:
            return
        ended = {e.id for e in self._ended}
        self._bear()
        rows = self.unit.execute(
            sa.select(steps).where(steps.c.run_id == self.run.id, steps.c.ended_at.is_(None))
        )
        running = False
        for row in sorted((r for r in rows if r.id not in ended), key=lambda r: r.position):
            if row.status == "running":
                running = True
            elif row.ready_at is not None:
                self.end(row, given_up(self.reason, row), reason="stopped")
            elif row.spec.get("when") is None or self.reason in ("cancelled", "timed_out"):
                self.end(row, "skipped", reason="stopped")
        if running:
            signals.tell(self.unit, INTERRUPT, f"{self.run.id}.")

    # ---------------------------------------------------------------- the run

    def settle(self) -> None:
        """Work out what follows from everything that ended in this unit, and from that, and so on."""
        while self._ended:
            ended, self._ended = self._ended, []
            for step in ended:
                self._judge(step)
            ended, self._ended = ended + self._ended, []
            ready = self._freed(ended)
            for step in sorted(ready, key=lambda r: r.position):
                self._decide(step)

    def close(self) -> None:
        """Write the run's row; once this unit is durable, start what may run. Call it once, last before the ledger."""
        self.settle()
        if self.open == 0 and self.run.ended_at is None and self._is_undone():
            self._finish()
        else:
            self._stand()
        self.values |= {
            "status": self.status,
            "reason": self.reason,
            "detail": self.detail,
            "lanes": self.lanes,
        }
        changed = {
            k: v for k, v in (self.values | {"open_steps": self.open}).items() if getattr(self.run, k) != v
        }
        if self._unborn is not None:
            self._unborn.run.update(changed)
            self.written = sorted(self._unborn.steps.values(), key=lambda row: row["position"])
            self._bear()
        elif changed:
            self.unit.change(runs, self.run.id, **changed)
        self.run_started()

    def run_started(self) -> None:
        """Hand the steps that may run to the engine of this process; where there is none, every other one looks."""
        durable, tasks, later, unit = self.unit.get(Durable), self.tasks, self.later, self.unit
        if not tasks and not later:
            return
        if not durable.here:
            signals.tell(unit, WAKE, self.run.id)
            return

        def start() -> None:
            durable.start_soon(tasks)
            for task, at in later:
                durable.start_at(task, (at - unit.now).total_seconds())

        unit.after_commit(start)

    @property
    def over(self) -> bool:
        """Whether the run ended in this unit."""
        return "ended_at" in self.values

    def _is_undone(self) -> bool:
        """Whether nothing has to be taken back before the run may end; else that is what comes next."""
        if not self.values.get("rollback", self.run.rollback):
            return True
        self._bear()
        left = sa.select(steps.c.id).where(
            steps.c.run_id == self.run.id, steps.c.status.in_(sorted(GOOD)), steps.c.undone.is_(False)
        )
        if self.unit.execute(left.limit(1)).first() is None:
            return True
        self.tasks.append(undo_task(self.run))
        return False

    # ---------------------------------------------------------------- inside

    def _judge(self, step: "_Ended") -> None:
        """What the end of one step means for the whole run."""
        if step.reason in ("stopped", "needs", "condition") or self.stopping:
            return
        if step.status == "denied":
            self.stop("denied", f"{step.name} was denied")
        elif step.status == "cancelled":
            self.stop("cancelled", f"{step.name} was cancelled")
        elif step.status in ("failed", "timed_out") and step.on_fail != "continue":
            if step.on_fail == "rollback":
                self.lanes, self.values["rollback"] = "fail_fast", True
            self.stop("failed", f"{step.name} {step.status.replace('_', ' ')}")

    def _freed(self, ended: "Sequence[_Ended]") -> list[Row]:
        """Steps whose last need is among these."""
        freed: dict[str, int] = {}
        for step in ended:
            for name in step.needed_by:
                freed[name] = freed.get(name, 0) + 1
        if not freed:
            return []
        self._bear()
        rows = self.unit.rows_of(steps, "ops.free_steps", self.run.id, list(freed), list(freed.values()))
        # Of a matrix with a limit more may end at once than one waited for, and those that run are still counted.
        return [row for row in rows if row.waiting_for <= 0 and row.ready_at is None]

    def _decide(self, step: Row) -> None:
        """Nothing keeps this step waiting any more: it runs, or it never will."""
        node = node_of(step.spec)
        if node.when is None and self.stopping:
            self.end(step, "skipped", reason="stopped")
            return
        verdict = decision(self.unit, self.run, step, node)
        if verdict == "run":
            self.ready([step])
        else:
            self.end(step, "skipped", reason=verdict)

    def first(self, rows: Sequence[Row]) -> None:
        """Steps that need none: they may run, those with a condition where it holds."""
        self.ready(row for row in rows if row.spec.get("when") is None)
        for row in rows:
            if row.spec.get("when") is not None:
                self._decide(row)

    def ready(self, rows: Iterable[Row]) -> None:
        """Steps may run."""
        for row in rows:
            if self.paused:
                self._set(row.id, {"ready_at": self.unit.now})
            elif not self._done_at_once(row):
                self._set(row.id, {"ready_at": self.unit.now})
                self.tasks.append(self._task(row))

    def _done_at_once(self, step: Row) -> bool:
        """Carry out a step that only computes, here and now; False where it takes a task of its own.

        A unit does so with a few of them, and as nobody but the run's own actor in a process that has an engine.
        """
        action, unit = quick(self.unit, self.run, step), self.unit
        if action is None or self.stopping or self._at_once >= _AT_ONCE:
            return False
        if step.needs:
            self._bear()
        try:
            needs = needs_of(unit, step)
            tree = input_of(unit, self.run, step, needs)
            work = work_of(unit, self.run, step, action_of(step.spec), 1, tree, needs)
            with spans.turn(step.run_id, step.id), spans.doing(f"tool {work.action}", work):
                done = action(unit, work)
        except Problem:  # its task will say so
            return False
        self._at_once += 1
        self._gathered[step.id] = {"ready_at": unit.now}
        self.begin(step, input_tree=tree)
        begun = step._replace(attempt=1, started_at=unit.now)
        self.end(begun, done.status, reason=done.reason, **values_of(step, work, done))
        if step.id in self._gathered:
            unit.change(steps, step.id, **self._gathered.pop(step.id))
        return True

    def _task(self, step: Any) -> Task:
        return task_of(self.run, step, heavy=is_heavy(self.unit, step.spec))

    def _stand(self) -> None:
        """The status of a run that goes on."""
        if self.open == 0:
            self._become("running", "run.resumed")
        elif self.paused:
            self._become("paused", "run.paused")
        elif self._parked or not (self.tasks or self.later) or self.status == "paused":
            self._bear()
            rows = self.unit.execute(
                sa.select(steps.c.status).where(steps.c.run_id == self.run.id, live()).distinct()
            )
            found = {row.status for row in rows}
            if found & {"running", "retrying", "pending"} or not found:
                started = self.run.started_at is not None or "started_at" in self.values
                self._become("running" if started else "queued", "run.resumed")
            else:
                self._become(min(found & _WAITING), "run.waiting")
        elif self.status in _WAITING:
            self._become("running", "run.resumed")

    def _become(self, status: str, event: str) -> None:
        if self.status == status:
            return
        self.status = status
        self._announce(event, status)

    def _finish(self) -> None:
        self.status = self.reason or "succeeded"
        self.values["ended_at"] = self.unit.now
        self._announce("run.ended", self.status)

    def _set(self, step_id: str, values: dict[str, Any]) -> None:
        if self._unborn is not None:
            self._unborn.steps[step_id].update(self._gathered.pop(step_id, {}) | values)
        elif step_id in self._gathered:
            self._gathered[step_id].update(values)
        else:
            self.unit.change(steps, step_id, **values)

    def _bear(self) -> None:
        """Insert what is not there yet, before anybody looks at it."""
        if self._unborn is not None:
            unborn, self._unborn = self._unborn, None
            self.unit.add(runs, **unborn.run)
            for row in unborn.steps.values():
                self.unit.add(steps, **row)

    def _tell(self, type_: str, step: Any, status: str, **more: Any) -> None:
        told = {
            "step_id": step.id,
            "name": step.name,
            "status": status,
            "lane": step.lane,
            "attempt": step.attempt,
        }
        told |= {key: value for key, value in more.items() if value is not None}
        events.add(self.unit, self.run.id, type_, told)

    def _announce(self, type_: str, status: str) -> None:
        events.add(self.unit, self.run.id, type_, {"status": status, "reason": self.reason})


class _Ended:
    """A step that ended in this unit."""

    def __init__(self, row: Any, status: str, reason: str | None) -> None:
        self.id: str = row.id
        self.name: str = row.name
        self.status = status
        self.reason = reason
        self.on_fail: str = row.spec.get("on_fail", "stop")
        self.needed_by: Sequence[str] = row.needed_by


class _Turned:
    """A step as it will be in its next turn."""

    def __init__(self, row: Any, turn: int) -> None:
        self.org_id, self.run_id, self.id, self.name = row.org_id, row.run_id, row.id, row.name
        self.spec, self.turn = row.spec, turn


def given_up(reason: str | None, step: Row) -> str:
    """The status of a step that its run does not wait for any more. What never began had no time to run out of."""
    if reason != "timed_out":
        return "cancelled"
    return "timed_out" if step.attempt else "skipped"
