"""`project/task.yaml`: the delivery tasks by id (SPEC §3.5, §4)."""

from collections.abc import Mapping
from typing import Any

from builderos.assets.workspaces.delivery.flow import Item
from builderos.assets.workspaces.delivery.formats import Task, checked, is_task_id
from builderos.assets.workspaces.delivery.layout import Edits, Files, Layout
from builderos.assets.workspaces.delivery.lines import Block
from builderos.assets.workspaces.delivery.shapes import TASKS
from builderos.core.problems import Problem


def check_id(task_id: str) -> str:
    """`task_id` itself. Raises Problem(validation_failed) if it cannot name a task."""
    if is_task_id(task_id):
        return task_id
    raise Problem(
        "validation_failed",
        f"{task_id[:80]!r} cannot be the id of a task.",
        hint="Use 1 to 64 letters, digits, `.`, `-` and `_`; begin with a letter, a digit or `_`.",
        field="task_id",
    )


def upsert(files: Files, layout: Layout, task_id: str, fields: Mapping[str, Any]) -> Edits:
    """Edits that create a task or change the given fields of it; fields not given stay as they are.

    Raises Problem(validation_failed) for a bad id or field, and for a task file that cannot be read.
    """
    block = _open(files, layout)
    given = checked(Task, fields, f"task {check_id(task_id)}")
    block.put(task_id, (block.get(task_id) or {}) | given)
    return _edits(block, layout)


def remove(files: Files, layout: Layout, task_id: str) -> Edits:
    """Edits that take a task out; none if there is no such task. Raises Problem(validation_failed)."""
    block = _open(files, layout)
    block.remove(task_id)
    return _edits(block, layout)


def get(files: Files, layout: Layout, task_id: str) -> Item | None:
    """One task's fields; None if there is no such task. Raises Problem(validation_failed) if the file is broken."""
    return _open(files, layout).get(task_id)


def every(files: Files, layout: Layout) -> dict[str, Item]:
    """All tasks by id in the order of the file. Raises Problem(validation_failed) if the file is broken."""
    return dict(_open(files, layout).items())


def _open(files: Files, layout: Layout) -> Block:
    return Block.require(TASKS, layout.task, files.read(layout.task))


def _edits(block: Block, layout: Layout) -> Edits:
    return {layout.task: block.close()} if block.dirty else {}
