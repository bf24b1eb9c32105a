"""What was thought and handed over while working on a task: one log per task and branch.

Only the branch that a log is named after ever appends to it, so no merge of two branches can conflict in one. It
rotates
like every log of the delivery files, and undo leaves it alone because it lies in `.logs/`.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal

from builderos.assets.repositories.service import check_path
from builderos.core.clock import rfc3339
from builderos.core.ids import new_id
from builderos.core.unit import Unit

from . import delivery
from .delivery.logs import Log
from .delivery.shapes import Shape

Kind = Literal["thought", "decision", "issue", "lesson", "question", "handoff"]

NOTES: Final = Shape("notes", keys=("id",))
FOLDER: Final = delivery.LOGS + "tasks"
_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,80}\Z")


def note(unit: Unit, kind: Kind, **fields: Any) -> dict[str, Any]:
    """One entry by this unit's actor; members without a value are left out."""
    given = {name: value for name, value in fields.items() if value not in (None, "", [])}
    return {"id": new_id("nte"), "at": rfc3339(unit.now), "by": unit.actor.name, "kind": kind, **given}


def append(
    files: delivery.Files, branch: str, task_id: str, notes: Iterable[Mapping[str, Any]]
) -> delivery.Edits:
    """Edits that add notes to a task's log of this branch. Raises `validation_failed` for one that is too large."""
    entries = [dict(entry) for entry in notes]
    return _log(task_id, branch).append(files, entries) if entries else {}


def head(branch: str, task_id: str) -> str:
    """The file to which a branch appends the notes of a task. Raises `invalid_path` for an id no computer could
    store.
    """
    return check_path(f"{FOLDER}/{task_id}/{_stem(branch)}.yaml")


def notes_of(files: delivery.Files, task_id: str) -> list[dict[str, Any]]:
    """All notes of a task, whichever branch wrote them, oldest first; what cannot be read is passed over."""
    folder = f"{FOLDER}/{task_id}"
    stems = [name.removesuffix(".yaml") for name in files.list(folder) if name.endswith(".yaml")]
    found = [entry for stem in stems for entry in _readable(files, task_id, stem)]
    return sorted(found, key=lambda entry: (str(entry.get("at", "")), str(entry.get("id", ""))))


def tasks_with_notes(files: delivery.Files) -> list[str]:
    """Ids of tasks that have notes."""
    return sorted(files.list(FOLDER))


def _readable(files: delivery.Files, task_id: str, stem: str) -> Iterator[dict[str, Any]]:
    return Log(NOTES, f"{FOLDER}/{task_id}/{stem}.yaml", f"{FOLDER}/{task_id}/{stem}").entries(files)


def _log(task_id: str, branch: str) -> Log:
    path = head(branch, task_id)
    return Log(NOTES, path, path.removesuffix(".yaml"))


def _stem(branch: str) -> str:
    """A branch's name as a file name: its own where that is plain, else with a digest so that two cannot meet."""
    if _PLAIN.match(branch):
        return branch
    digest = hashlib.sha256(branch.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return re.sub(r"[^A-Za-z0-9_-]+", "-", branch)[:60].strip("-_") + "-" + digest
