"""Hand a task over, and note what was thought about it."""

from typing import Annotated, Any, Literal

from pydantic import Field

from builderos.assets.repositories.service import check_path
from builderos.core.problems import Problem
from builderos.core.schema import Line, Name, Out, ToolOut
from builderos.core.unit import Unit

from . import tasknotes
from .content import TreeFiles, batch_of, tree_of
from .places import BranchWriteIn, Place, locate
from .taskboard import board_of
from .tasks import Desk, Note, PathList, TaskId
from .writing import reminder

ENTRY_CHARS = 60_000


class HandoffIn(BranchWriteIn):
    """Hand a task to somebody (`append`), or read how it was handed over (`fetch`)."""

    action: Annotated[
        Literal["append", "fetch"], Field(description="append: hand over. fetch: read the hand-offs.")
    ]
    task_id: TaskId
    to: Annotated[Name | None, Field(description="append: the agent or person it goes to.")] = None
    reason: Annotated[Note | None, Field(description="append: why.", min_length=1)] = None
    next_prompt: Annotated[Note | None, Field(description="append: what the next one should be asked.")] = (
        None
    )
    reference_files: Annotated[PathList, Field(description="append: files to read first.")] = []
    limit: Annotated[int, Field(description="fetch: how many of the newest.", ge=1, le=50)] = 10


class NoteOut(Out):
    """One note or hand-off. `by` and `at` are the server's knowledge."""

    id: str
    at: str
    by: str
    kind: str
    text: str | None = None
    tags: list[str] = []
    to: str | None = None
    reason: str | None = None
    next_prompt: str | None = None
    reference_files: list[str] = []


class HandoffOut(ToolOut):
    """The hand-offs of a task, newest first; after `append` the new one alone."""

    task_id: str
    assigned_pod: str | None
    handoffs: list[NoteOut]
    truncated: bool
    commit_sha: str | None
    warnings: list[str]


class ReasoningIn(BranchWriteIn):
    """One thought about a task."""

    task_id: TaskId
    kind: Annotated[
        Literal["thought", "decision", "issue", "lesson", "question"],
        Field(description="What sort of note it is."),
    ]
    text: Annotated[Note, Field(description="The note.", min_length=1)]
    tags: Annotated[list[Line], Field(description="Words to find it by.", max_length=20)] = []


class ReasoningOut(ToolOut):
    """The note as it was kept."""

    task_id: str
    entry: NoteOut
    commit_sha: str
    warnings: list[str]


def handoff(unit: Unit, body: HandoffIn) -> HandoffOut:
    """Hand a task over or read its hand-offs. Raises `not_found`, `validation_failed`, and what `locate` raises."""
    if body.action == "fetch":
        return _fetch(unit, body)
    place = locate(unit, body, "task.write", lock=True)
    if body.to is None or body.reason is None:
        missing = "to" if body.to is None else "reason"
        raise Problem(
            "validation_failed", f"a hand-off needs {missing}", hint="Say to whom and why.", field=missing
        )
    desk = Desk(unit, place)
    task = desk.board.get(body.task_id)
    absent = [path for path in body.reference_files if desk.tip.entry(check_path(path)) is None]
    entry = tasknotes.note(
        unit, "handoff", to=body.to, reason=body.reason, next_prompt=body.next_prompt,
        reference_files=body.reference_files,
    )  # fmt: skip
    message = f"Hand task {task.id} to {body.to}"
    written = desk.save(task.id, {"assigned_pod": body.to}, message, "task.handoff", notes=[entry])
    warnings = [f"{path} is not on the branch yet" for path in absent[:10]]
    return HandoffOut(
        task_id=task.id, assigned_pod=body.to, handoffs=[note_out(entry)], truncated=False, commit_sha=written.sha,
        warnings=[*warnings, *written.warnings], repo_name=place.repo_name, branch=place.branch.name,
        message=f"{task.id} is now with {body.to}, on branch {place.branch.name} of {place.repo_name}."
        + reminder(unit, written),
    )  # fmt: skip


def _fetch(unit: Unit, body: HandoffIn) -> HandoffOut:
    place = locate(unit, body, "task.read")
    batch = batch_of(unit, place.branch)
    tip = TreeFiles(batch, tree_of(batch, place.branch.tip))
    board = board_of(unit, place, tip)
    task = board.get(body.task_id)
    notes = [n for n in reversed(tasknotes.notes_of(tip, task.id)) if n.get("kind") == "handoff"]
    shown, truncated = fitting(notes, body.limit, ENTRY_CHARS)
    return HandoffOut(
        task_id=task.id, assigned_pod=task.assigned_pod, handoffs=shown, truncated=truncated, commit_sha=None,
        warnings=board.warnings[:20], repo_name=place.repo_name, branch=place.branch.name,
        message=_fetched(place, task.id, shown),
    )  # fmt: skip


def _fetched(place: Place, task_id: str, shown: list[NoteOut]) -> str:
    where = f"on branch {place.branch.name} of {place.repo_name}"
    if not shown:
        return f"{task_id} was not handed over yet, {where}."
    return f"{task_id} went to {shown[0].to or 'whoever is next'} last; {len(shown)} hand-offs {where}."


def log_reasoning(unit: Unit, body: ReasoningIn) -> ReasoningOut:
    """Keep a note with a task. Raises `not_found`, and what `locate` raises."""
    place = locate(unit, body, "task.write", lock=True)
    desk = Desk(unit, place)
    task = desk.board.get(body.task_id)
    entry = tasknotes.note(unit, body.kind, text=body.text, tags=list(dict.fromkeys(body.tags)))
    written = desk.save(task.id, {}, f"Note a {body.kind} on task {task.id}", "task.note", notes=[entry])
    return ReasoningOut(
        task_id=task.id, entry=note_out(entry), commit_sha=written.sha, warnings=written.warnings,
        repo_name=place.repo_name, branch=place.branch.name,
        message=f"Kept a {body.kind} with {task.id}, on branch {place.branch.name} of {place.repo_name}."
        + reminder(unit, written),
    )  # fmt: skip


def note_out(entry: dict[str, Any]) -> NoteOut:
    """A stored note as it is answered: what a hand edit made of it is read leniently."""
    texts = {
        name: value
        for name in ("text", "to", "reason", "next_prompt")
        if isinstance(value := entry.get(name), str)
    }
    lists = {
        name: [one for one in value if isinstance(one, str)]  # pyright: ignore[reportUnknownVariableType]
        for name in ("tags", "reference_files")
        if isinstance(value := entry.get(name), list)
    }
    known = {name: str(entry.get(name, "")) for name in ("id", "at", "by", "kind")}
    return NoteOut(**known, **texts, **lists)  # pyright: ignore[reportArgumentType]


def fitting(notes: list[dict[str, Any]], limit: int, room: int) -> tuple[list[NoteOut], bool]:
    """The first notes that fit into a count and a number of characters, and whether some were left out."""
    shown: list[NoteOut] = []
    for entry in notes[:limit]:
        one = note_out(entry)
        room -= len(one.model_dump_json())
        if room < 0:
            break
        shown.append(one)
    return shown, len(shown) < len(notes)
