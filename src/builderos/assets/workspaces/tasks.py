"""Delivery tasks (SPEC §3.5): every change is one commit that holds the task's line and the notes that belong to it."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from builderos.assets.repositories.service import check_path, decode_commit
from builderos.core.clock import rfc3339
from builderos.core.problems import Problem
from builderos.core.schema import Line, Name, Sha, Text, ToolOut
from builderos.core.unit import Unit

from . import delivery, tasknotes
from .content import TreeFiles, batch_of, tip_of, tree_of
from .history import commit_on
from .layout import layout_of
from .places import BranchWriteIn, Place, locate
from .taskboard import Board, Move, TaskOut, board_of, moved, refuse_bad_needs
from .undo import Inverse, inverse_of
from .writing import Change, Written, reminder, write

Action = Literal["create", "activate", "start", "complete", "reopen", "block", "fail", "clone", "next"]

MAX_LISTED: Final = 200
COPIED: Final = ("title", "phase", "assigned_pod", "prompt", "inputs", "outputs", "depends_on", "check")
TaskId = Annotated[Line, Field(description="Task, e.g. 2.1_parser.", max_length=64)]
PathList = Annotated[list[Annotated[str, Field(max_length=4096)]], Field(max_length=MAX_LISTED)]
Note = Annotated[Text, Field(max_length=15_000)]


class LifecycleIn(BranchWriteIn):
    """A move of one task. The fields of a task may be sent with any move and are changed with it."""

    action: Annotated[
        Action,
        Field(
            description="create, activate (backlog→ready), start (ready, blocked→in_progress), block, complete, fail "
            "(a named check failed), reopen (done, failed→in_progress), clone, next (whose turn is it)."
        ),
    ]
    task_id: TaskId | None = None
    new_task_id: Annotated[Line | None, Field(description="clone: id of the copy.", max_length=64)] = None
    title: Annotated[Line | None, Field(description="What is to be done.", min_length=1)] = None
    phase: Annotated[Name | None, Field(description="create: part of the plan, e.g. 2.")] = None
    assigned_pod: Annotated[
        Name | None, Field(description="The agent or person it is for; next: only theirs.")
    ] = None
    prompt: Annotated[Name | None, Field(description="Prompt to use, e.g. parser@1.0.0.")] = None
    inputs: Annotated[PathList | None, Field(description="Files to read for it.")] = None
    outputs: Annotated[PathList | None, Field(description="Files that must exist before it is done.")] = None
    depends_on: Annotated[
        list[TaskId] | None, Field(description="Tasks to be done before.", max_length=MAX_LISTED)
    ] = None
    check: Annotated[
        Name | None,
        Field(
            description="The check that decides about it: a pipeline, or `run: COMMAND`. fail: the one that failed."
        ),
    ] = None
    reason: Annotated[
        Note | None, Field(description="block, fail: why. reopen: why, if you like.", min_length=1)
    ] = None
    reasoning: Annotated[Note | None, Field(description="complete: what was done and why.", min_length=1)] = (
        None
    )
    commit_sha: Annotated[
        Sha | None, Field(description="fail: the task's own commit, which is undone with it.")
    ] = None


class CompleteIn(BranchWriteIn):
    """A finished task."""

    task_id: TaskId
    outputs: Annotated[PathList, Field(description="Files it produced, beside those it had declared.")] = []
    reasoning: Annotated[Note, Field(description="What was done and why.", min_length=1)]
    handoff_note: Annotated[
        Note | None, Field(description="What the next one should know.", min_length=1)
    ] = None


class TaskReply(ToolOut):
    """The task as it is now, and the one whose turn it is. `commit_sha` is null where nothing was written."""

    task: TaskOut | None
    next_task: TaskOut | None
    commit_sha: str | None
    warnings: list[str]


class Desk:
    """One task change: the board it starts from, and what will be written."""

    def __init__(self, unit: Unit, place: Place) -> None:
        self.unit = unit
        self.place = place
        self.tip = tip_of(unit, place.branch)
        self.layout = layout_of(self.tip)
        self.board: Board = board_of(unit, place, self.tip)

    def save(
        self, task_id: str, fields: Mapping[str, Any], message: str, event: str, *,
        notes: Iterable[Mapping[str, Any]] = (), inverse: Inverse | None = None, sha: str | None = None,
    ) -> Written:  # fmt: skip
        """Write fields of one task, its notes and what undoes a commit of it in one commit."""
        unit, noted = self.unit, list(notes)
        edits = delivery.tasks.upsert(
            self.tip, self.layout, task_id, {**fields, "updated_at": rfc3339(unit.now)}
        )
        edits |= tasknotes.append(self.tip, self.place.branch.name, task_id, noted)
        about = [self.layout.task, *([tasknotes.head(self.place.branch.name, task_id)] if noted else [])]
        change = Change(
            edits=inverse.edits if inverse else {}, message=message, tool=unit.call.tool, task_id=task_id, reverts=sha,
            delivery=edits | (inverse.record if inverse else {}), entry_id=inverse.entry_id if inverse else None,
            event=event, about=tuple(about), details={"status": fields["status"]} if "status" in fields else {},
        )  # fmt: skip
        return write(unit, self.place, change, inverse.tip if inverse else self.tip)

    def after(self, task_id: str, fields: Mapping[str, Any]) -> Board:
        """The board after `save` of these fields."""
        edits = delivery.tasks.upsert(
            self.tip, self.layout, task_id, {**fields, "updated_at": rfc3339(self.unit.now)}
        )
        return board_of(self.unit, self.place, delivery.Overlay(self.tip, edits))


def lifecycle(unit: Unit, body: LifecycleIn) -> TaskReply:
    """Move a task, or tell whose turn it is.

    Raises `illegal_transition` with `allowed`, `not_found`, `conflict` (taken id, missing outputs, a cycle),
    `validation_failed` (a missing field; a task file that is not YAML, with `path` and `line`), and as `locate`.
    """
    if body.action == "next":
        return _next(unit, body)
    place = locate(unit, body, "task.write", lock=True)
    desk = Desk(unit, place)
    if body.task_id is None:
        raise Problem(
            "validation_failed", f"{body.action} needs a task_id", hint="Say which task.", field="task_id"
        )
    if body.action == "create":
        return _create(desk, body, body.task_id)
    if body.action == "clone":
        return _clone(desk, body, body.task_id)
    return _move(desk, body, desk.board.get(body.task_id), body.action)


def complete(unit: Unit, body: CompleteIn) -> TaskReply:
    """Finish a task whose outputs exist. Raises `conflict` with `missing`, `illegal_transition`, and as `lifecycle`."""
    desk = Desk(unit, locate(unit, body, "task.write", lock=True))
    task = desk.board.get(body.task_id)
    status = moved(task, "complete")
    outputs = _existing(desk, [*task.outputs, *body.outputs])
    notes = [tasknotes.note(unit, "decision", text=body.reasoning, tags=["completed"])]
    if body.handoff_note is not None:
        notes.append(tasknotes.note(unit, "handoff", reason=body.handoff_note))
    fields = {"status": status, "outputs": outputs, "reason": None}
    return _saved(
        desk, task.id, fields, f"Complete task {task.id}: {task.title}", "task.complete", notes=notes
    )


def fail_task(
    unit: Unit, place: Place, task_id: str, *, check: str, reason: str, commit_sha: str | None = None
) -> TaskReply:
    """Mark a task as failed because its check failed, and undo its own commit when one is named, all in one commit.

    Raises `validation_failed` for a commit that another task made, `conflict` where later changes are in the way of the
    undoing, `illegal_transition`.
    """
    desk = Desk(unit, place)
    task = desk.board.get(task_id)
    fields = {"status": moved(task, "fail"), "check": check, "reason": reason}
    inverse = _own_inverse(desk, task_id, commit_sha, reason) if commit_sha is not None else None
    notes = [tasknotes.note(unit, "issue", text=reason, tags=["check:" + check], reverts=commit_sha)]
    message = f"Task {task_id} failed its check {check}" + (
        f"\n\nReverts {commit_sha}." if commit_sha else ""
    )
    return _saved(desk, task_id, fields, message, "task.fail", notes=notes, inverse=inverse, sha=commit_sha)


def _own_inverse(desk: Desk, task_id: str, commit_sha: str, reason: str) -> Inverse:
    sha = commit_on(desk.unit, desk.place.branch, commit_sha)
    made_by = dict(decode_commit(desk.tip.batch.read(bytes.fromhex(sha))[1]).trailers).get("BuilderOS-Task")
    if made_by != task_id:
        whose = f"belongs to task {made_by}" if made_by else "belongs to no task"
        raise Problem(
            "validation_failed", f"{sha[:12]} {whose}", hint=f"Name a commit with task_id {task_id}."
        )
    return inverse_of(desk.unit, desk.place, sha, reason)


def _next(unit: Unit, body: LifecycleIn) -> TaskReply:
    place = locate(unit, body, "task.read")
    batch = batch_of(unit, place.branch)
    board = board_of(unit, place, TreeFiles(batch, tree_of(batch, place.branch.tip)))
    task = board.next(body.assigned_pod)
    message = f"Next is {task.id}: {task.title}." if task else _why_none(board, body.assigned_pod)
    return _reply(place, task, task, None, board.warnings, message)


def _why_none(board: Board, pod: str | None) -> str:
    """What to do when no task is ready."""
    counts = {
        s: [t.id for t in board.tasks.values() if t.status == s] for s in ("in_progress", "ready", "backlog")
    }
    if pod is not None and board.next() is not None:
        return f"Nothing is ready for {pod}; others have work."
    if counts["in_progress"]:
        return f"Nothing else is ready; {counts['in_progress'][0]} is in progress."
    if counts["ready"]:
        task = board.tasks[counts["ready"][0]]
        return f"{task.id} waits for {', '.join(task.waiting_for[:3])}."
    if counts["backlog"]:
        return f"Nothing is ready; activate one of the backlog, e.g. {counts['backlog'][0]}."
    return "All tasks are done." if board.tasks else "There is no task yet; create one."


def _create(desk: Desk, body: LifecycleIn, task_id: str) -> TaskReply:
    _refuse_taken(desk, task_id)
    if body.title is None:
        raise Problem(
            "validation_failed", "a new task needs a title", hint="Say what is to be done.", field="title"
        )
    fields = {"status": "backlog", **_given(desk, body, task_id), "created_at": rfc3339(desk.unit.now)}
    return _saved(desk, task_id, fields, f"Create task {task_id}: {body.title}", "task.create")


def _clone(desk: Desk, body: LifecycleIn, task_id: str) -> TaskReply:
    task = desk.board.get(task_id)
    new_id = body.new_task_id or _free_id(desk.board, task_id)
    _refuse_taken(desk, new_id)
    copied = {name: value for name in COPIED if (value := getattr(task, name))}
    given = _given(desk, body, new_id)
    fields = {
        "status": "backlog",
        **copied,
        **given,
        "created_at": rfc3339(desk.unit.now),
        "cloned_from": task_id,
    }
    return _saved(desk, new_id, fields, f"Clone task {task_id} as {new_id}", "task.clone")


def _free_id(board: Board, task_id: str) -> str:
    number = 2
    while (found := f"{task_id[:58]}_{number}") in board.tasks:
        number += 1
    return found


def _refuse_taken(desk: Desk, task_id: str) -> None:
    delivery.tasks.check_id(task_id)
    tasknotes.head(desk.place.branch.name, task_id)
    for known in desk.board.tasks:
        if known.casefold() == task_id.casefold():
            raise Problem(
                "conflict", f"there is a task {known} already", hint="Choose another id.", task_id=known
            )


def _move(desk: Desk, body: LifecycleIn, task: TaskOut, move: Move) -> TaskReply:
    if move in ("block", "fail") and body.reason is None:
        raise Problem("validation_failed", f"{move} needs a reason", hint="Say why.", field="reason")
    if move == "fail":
        check = body.check or task.check
        if check is None:
            raise Problem(
                "validation_failed", "fail needs the check that failed", hint="Name it.", field="check"
            )
        assert body.reason is not None
        return fail_task(
            desk.unit, desk.place, task.id, check=check, reason=body.reason, commit_sha=body.commit_sha
        )  # fmt: skip
    given = _given(desk, body, task.id)
    if "depends_on" in given:
        waiting = [need for need in given["depends_on"] if desk.board.tasks[need].status != "done"]
        task = task.model_copy(update={"waiting_for": waiting})
    status = moved(task, move)
    if move == "complete":
        given["outputs"] = _existing(desk, [*task.outputs, *given.get("outputs", [])])
    fields = {**given, "status": status, "reason": body.reason}
    text = body.reasoning if move == "complete" else body.reason
    kind: tasknotes.Kind = "decision" if move == "complete" else "issue" if move == "block" else "thought"
    notes = [tasknotes.note(desk.unit, kind, text=text, tags=[move])] if text else []
    message = f"{move.capitalize()} task {task.id}: {task.title}"
    return _saved(desk, task.id, fields, message, f"task.{move}", notes=notes)


def _given(desk: Desk, body: LifecycleIn, task_id: str) -> dict[str, Any]:
    """The fields of a task that the body names, checked."""
    given = {name: value for name in COPIED if (value := getattr(body, name)) is not None}
    for path in (*given.get("inputs", ()), *given.get("outputs", ())):
        check_path(path)
    if "depends_on" in given:
        given["depends_on"] = list(dict.fromkeys(given["depends_on"]))
        refuse_bad_needs(desk.board, task_id, given["depends_on"])
    return given


def _existing(desk: Desk, outputs: Iterable[str]) -> list[str]:
    """The outputs, each once; raises `conflict` with those that are `missing` on the branch."""
    wanted = list(dict.fromkeys(outputs))
    missing = [path for path in wanted if desk.tip.entry(check_path(path)) is None]
    if missing:
        raise Problem(
            "conflict", f"declared outputs are missing: {', '.join(missing[:5])}",
            hint="Commit these files first, or correct the task's outputs.", missing=missing,
        )  # fmt: skip
    return wanted


def _saved(
    desk: Desk, task_id: str, fields: Mapping[str, Any], message: str, event: str, **more: Any
) -> TaskReply:
    board = desk.after(task_id, fields)
    written = desk.save(task_id, fields, message, event, **more)
    task = board.tasks[task_id]
    place = desk.place
    text = f"{task.id} is {task.status} on branch {place.branch.name} of {place.repo_name}."
    following = board.next()
    if following is not None and task.status in ("done", "failed"):
        text += f" Next is {following.id}: {following.title}."
    text += reminder(desk.unit, written)
    return _reply(place, task, following, written.sha, [*board.warnings, *written.warnings], text)


def _reply(
    place: Place,
    task: TaskOut | None,
    following: TaskOut | None,
    sha: str | None,
    warnings: list[str],
    text: str,
) -> TaskReply:
    return TaskReply(
        task=task, next_task=following, commit_sha=sha, warnings=warnings[:20], repo_name=place.repo_name,
        branch=place.branch.name, message=text,
    )  # fmt: skip
