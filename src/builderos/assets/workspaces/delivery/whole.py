"""The delivery files of a tree together: how they begin, and which of them cannot be read."""

from collections.abc import Iterable

from builderos.assets.workspaces.delivery import changelog, memory, reverts
from builderos.assets.workspaces.delivery.layout import Files, Layout
from builderos.assets.workspaces.delivery.lines import Block, issue
from builderos.assets.workspaces.delivery.parse import Issue, Unreadable
from builderos.assets.workspaces.delivery.shapes import CHANGELOG, MEMORY, TASKS


def empty(layout: Layout) -> dict[str, bytes]:
    """The files of a project that has no task, no memory and no commit yet."""
    return {
        layout.task: TASKS.empty.encode(),
        layout.memory: MEMORY.empty.encode(),
        layout.changelog: CHANGELOG.empty.encode(),
    }


def goals_text(name: str, description: str, goals: Iterable[str]) -> bytes:
    """`project/goals.md`, which belongs to people from then on: the server neither rewrites nor merges it."""
    lines = [f"# {_line(name)}", "", description.strip(), "", "## Goals", ""]
    return "\n".join([*lines, *(f"- [ ] {_line(goal)}" for goal in goals)]).strip().encode() + b"\n"


def issues(files: Files, layout: Layout) -> list[Issue]:
    """Every delivery file of a tree that cannot be read: the ground for the alert `memory_invalid`."""
    found = changelog.issues(files, layout) + reverts.issues(files, layout) + memory.issues(files, layout)
    try:
        Block(TASKS, files.read(layout.task))
    except Unreadable as exc:
        found.append(issue(layout.task, exc))
    return found


def _line(text: str) -> str:
    return " ".join(text.split())
