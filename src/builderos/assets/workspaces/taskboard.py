"""The delivery tasks of a branch as a board: which move is allowed, what waits for what, whose turn it is.

`project/task.yaml` is people's as well, so it is read leniently: what a field cannot be is pointed out and read as
absent.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from builderos.core.problems import Problem
from builderos.core.schema import Out
from builderos.core.unit import Unit
from builderos.trust.notices import service as notices

from . import delivery
from .layout import layout_of
from .places import Place

Status = Literal["backlog", "ready", "in_progress", "blocked", "done", "failed"]
Move = Literal["activate", "start", "block", "complete", "fail", "reopen"]

STATUSES: Final[tuple[Status, ...]] = ("backlog", "ready", "in_progress", "blocked", "done", "failed")

MOVES: Final[Mapping[Move, tuple[frozenset[Status], Status]]] = {
    "activate": (frozenset({"backlog"}), "ready"),
    "start": (frozenset({"ready", "blocked"}), "in_progress"),
    "block": (frozenset({"in_progress"}), "blocked"),
    "complete": (frozenset({"in_progress"}), "done"),
    "fail": (frozenset({"in_progress", "blocked", "done"}), "failed"),
    "reopen": (frozenset({"done", "failed"}), "in_progress"),
}
"""The state table of SPEC §3.5: move → the states it leads from, the state it leads to."""


class TaskOut(Out):
    """A task. `waiting_for`: tasks it depends on that are not done."""

    id: str
    title: str
    status: Status
    phase: str | None
    assigned_pod: str | None
    prompt: str | None
    inputs: list[str]
    outputs: list[str]
    depends_on: list[str]
    waiting_for: list[str]
    check: str | None
    reason: str | None
    created_at: str | None
    updated_at: str | None


@dataclass(frozen=True)
class Board:
    """All tasks by id in the order of the file, and what was odd in it."""

    tasks: Mapping[str, TaskOut]
    warnings: list[str]

    def get(self, task_id: str) -> TaskOut:
        """One task; raises `not_found`."""
        found = self.tasks.get(task_id)
        if found is None:
            raise Problem(
                "not_found",
                f"there is no task {task_id!r}",
                hint="taskQuery lists the tasks.",
                field="task_id",
            )
        return found

    def next(self, pod: str | None = None) -> TaskOut | None:
        """The first ready task whose dependencies are done, of all or of one pod."""
        for task in self.tasks.values():
            if task.status == "ready" and not task.waiting_for and pod in (None, task.assigned_pod):
                return task
        return None


def board_of(unit: Unit, place: Place, files: delivery.Files) -> Board:
    """The board of a tree.

    Raises `validation_failed` with `path` and `line` where the file is not YAML; the alert `memory_invalid` is
    raised with
    it, and nothing is changed.
    """
    layout = layout_of(files)
    try:
        found = delivery.tasks.every(files, layout)
    except Problem as problem:
        branch, issues = place.branch.name, [problem.detail]
        unit.keep(lambda own: notices.raise_alert(own, "memory_invalid", branch, {"issues": issues}))
        raise
    warnings: list[str] = []
    done = {id_ for id_, item in found.items() if item.get("status") == "done"}
    tasks = {id_: _task(id_, item, done, layout.task, warnings) for id_, item in found.items()}
    return Board(tasks, warnings)


def _task(id_: str, item: Mapping[str, Any], done: set[str], path: str, warnings: list[str]) -> TaskOut:
    status = item.get("status", "backlog")
    if status not in STATUSES:
        warnings.append(f"{path}: {id_} has the unknown status {str(status)[:40]!r}; it is read as backlog")
        status = "backlog"
    needs = _texts(item, "depends_on")
    return TaskOut(
        id=id_,
        title=_text(item, "title") or id_,
        status=status,
        phase=_text(item, "phase"),
        assigned_pod=_text(item, "assigned_pod"),
        prompt=_text(item, "prompt"),
        inputs=_texts(item, "inputs"),
        outputs=_texts(item, "outputs"),
        depends_on=needs,
        waiting_for=[need for need in needs if need not in done],
        check=_text(item, "check"),
        reason=_text(item, "reason"),
        created_at=_text(item, "created_at"),
        updated_at=_text(item, "updated_at"),
    )


def _text(item: Mapping[str, Any], name: str) -> str | None:
    value = item.get(name)
    return value if isinstance(value, str) else None


def _texts(item: Mapping[str, Any], name: str) -> list[str]:
    value = item.get(name)
    return (
        [one for one in cast("list[Any]", value) if isinstance(one, str)] if isinstance(value, list) else []
    )


def moved(task: TaskOut, move: Move) -> Status:
    """The state after a move. Raises `illegal_transition` with the moves that are `allowed`."""
    before, after = MOVES[move]
    if task.status in before and not (move == "start" and task.waiting_for):
        return after
    allowed = [name for name, (states, _) in MOVES.items() if task.status in states]
    if move == "start" and task.waiting_for and task.status in before:
        allowed.remove("start")
        why = f"{task.id} waits for {', '.join(task.waiting_for[:5])}"
        hint = "Complete what it waits for first, or change its depends_on."
    else:
        why = f"{task.id} is {task.status}; {move} leads from {' or '.join(sorted(before))}"
        hint = f"Possible now: {', '.join(allowed)}." if allowed else "Look at the task again with taskQuery."
    raise Problem(
        "illegal_transition",
        why,
        hint=hint,
        allowed=allowed,
        state=task.status,
        waiting_for=task.waiting_for,
    )


def refuse_bad_needs(board: Board, task_id: str, needs: Iterable[str]) -> None:
    """Raise `not_found` for an unknown dependency, `conflict` with the `cycle` for one that waits for this task."""
    for need in needs:
        if need != task_id and need not in board.tasks:
            raise Problem(
                "not_found", f"{task_id} cannot depend on {need!r}: there is no such task",
                hint="Create that one first.",
                field="depends_on",
            )  # fmt: skip
    cycle = _cycle(board, task_id, list(needs))
    if cycle:
        raise Problem(
            "conflict", f"the tasks would wait for each other: {' → '.join(cycle)}",
            hint="Take one of these out of depends_on.",
            cycle=cycle,
        )  # fmt: skip


def _cycle(board: Board, task_id: str, needs: list[str]) -> list[str]:
    """A way from the task over its (new) dependencies back to itself; [] where there is none."""
    came_from: dict[str, str] = {}
    todo = [(need, task_id) for need in needs]
    while todo:
        name, parent = todo.pop()
        if name in came_from:
            continue
        came_from[name] = parent
        if name == task_id:
            break
        todo += [(need, name) for need in (board.tasks[name].depends_on if name in board.tasks else ())]
    if task_id not in came_from:
        return []
    way, at = [task_id], came_from[task_id]
    while at != task_id:
        way.append(at)
        at = came_from[at]
    return [task_id, *reversed(way)]
