"""What a run changed: the tree it started from against the tree it came to, as much of it as a page shows."""

from typing import Annotated, Any, Final, Literal

import sqlalchemy as sa
from pydantic import Field

from builderos.assets.repositories import service as repositories
from builderos.core.problems import Problem
from builderos.core.schema import Out
from builderos.core.unit import Unit

from .model import steps
from .rows import Row
from .trees import EMPTY, scratch_of

FILES: Final = 100
CHARS: Final = 100_000
_LARGE: Final = 512 * 1024


class ChangedFile(Out):
    """One path that differs."""

    path: str
    status: Literal["added", "modified", "deleted"]
    added: int
    deleted: int
    binary: bool


class RunDiff(Out):
    """The difference of the tree that the run started from and the one that it came to."""

    base_tree: str
    result_tree: str
    files: list[ChangedFile]
    files_total: int
    text: Annotated[str, Field(description="Unified diff of these files.")]
    truncated: Annotated[bool, Field(description="There are more files or lines than are shown.")]


def diff_of(unit: Unit, run: Row) -> RunDiff | None:
    """What the run has changed so far; None where no step has left anything, or where its branch is gone by now.

    The result is the tree of its last commit, else what the last step in the order of the definition left.
    """
    try:
        found = ends_of(unit, run)
        return None if found is None else compared(*found)
    except KeyError:
        return None
    except Problem as problem:
        if problem.code != "unavailable":
            raise
        return None


def ends_of(unit: Unit, run: Row) -> tuple[repositories.Scratch, str, str] | None:
    """The trees that a run began with and came to (hex), and where they lie; None where no step has left anything.

    Raises `unavailable` and `KeyError` where they are gone.
    """
    tree = _last_output(unit, run)
    if tree is None and not run.commits:
        return None
    scratch = scratch_of(unit, run)
    if run.commits:
        tree = scratch.tree_of(run.commits[-1])
    assert tree is not None
    base = run.base_tree or (EMPTY if run.base_sha is None else scratch.tree_of(run.base_sha))
    return scratch, base, tree or base


def compared(scratch: repositories.Scratch, base: str, tree: str) -> RunDiff:
    """The difference of two trees (hex), as much of it as a page shows."""
    changes = scratch.changes(base, tree)
    files: list[ChangedFile] = []
    parts: list[str] = []
    room = CHARS
    for path in sorted(changes)[:FILES]:
        was, now = changes[path]
        file, text = change_of(scratch, path, was, now)
        files.append(file)
        parts.append(text[: max(0, room)])
        room -= len(text)
    return RunDiff(
        base_tree=base, result_tree=tree, files=files, files_total=len(changes), text="".join(parts),
        truncated=room < 0 or len(changes) > FILES,
    )  # fmt: skip


def _last_output(unit: Unit, run: Row) -> str | None:
    c = steps.c
    wanted = sa.select(c.output_tree).where(c.run_id == run.id, c.output_tree.is_not(None))
    return unit.execute(wanted.order_by(c.position.desc()).limit(1)).scalar_one_or_none()


def change_of(scratch: repositories.Scratch, path: str, was: Any, now: Any) -> tuple[ChangedFile, str]:
    """One path that differs, by its entries of both trees, and its unified diff."""
    return _compared(path, _content(scratch, was), _content(scratch, now), was is None, now is None)


def _content(scratch: repositories.Scratch, entry: Any) -> bytes | None:
    """The bytes of one side; None where they are none that a diff can show."""
    if entry is None:
        return b""
    if entry.is_tree or entry.mode == repositories.SUBMODULE:
        return None
    data = scratch.read(entry.oid)
    return data if len(data) <= _LARGE else None


def _compared(
    path: str, was: bytes | None, now: bytes | None, new: bool, gone: bool
) -> tuple[ChangedFile, str]:
    status: Literal["added", "modified", "deleted"] = "added" if new else "deleted" if gone else "modified"
    if was is None or now is None or b"\0" in was[:8000] or b"\0" in now[:8000]:
        return ChangedFile(path=path, status=status, added=0, deleted=0, binary=True), ""
    text, added, deleted = repositories.Scratch.patch(path, was, now)
    file = ChangedFile(path=path, status=status, added=added, deleted=deleted, binary=False)
    return file, text
