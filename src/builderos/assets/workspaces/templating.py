"""Templates of new projects, as they ship: tasks, documents, and what becomes of the goals."""

import functools
import re
import string
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

from builderos.core.problems import Problem

from .delivery.parse import parse

DEFAULT: Final = "project"
_SLUG: Final = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True)
class Template:
    """One template: tasks before and after those that are made of the goals, and files by path."""

    name: str
    summary: str
    tasks: Mapping[str, Mapping[str, Any]]
    goal_tasks: Mapping[str, Any]
    last_tasks: Mapping[str, Mapping[str, Any]]
    files: Mapping[str, str]


@functools.cache
def names() -> tuple[str, ...]:
    """The templates that ship, beside the plain project."""
    return tuple(sorted(f.name for f in _root().iterdir() if f.is_dir() and f.name != DEFAULT))


def find(name: str | None) -> Template:
    """The template of this name, or the plain project. Raises `validation_failed` with the `known` ones."""
    if name is not None and name != DEFAULT and name not in names():
        raise Problem(
            "validation_failed", f"there is no template {name!r}", hint=f"Known templates: {', '.join(names())}.",
            known=list(names()), field="template",
        )  # fmt: skip
    return _load(name or DEFAULT)


@functools.cache
def _load(name: str) -> Template:
    folder = _root() / name
    node = parse((folder / "template.yaml").read_text("utf-8"))
    assert node is not None
    value = node.value
    files = {path: (folder / source).read_text("utf-8") for path, source in value["files"].items()}
    return Template(name, value["summary"], value["tasks"], value["goal_tasks"], value["last_tasks"], files)


def _root() -> Any:
    return resources.files(__package__ or "") / "templates"


def filled(text: str, words: Mapping[str, str]) -> str:
    """A text of a template with its `$words` replaced; words it does not know stay as they are."""
    return string.Template(text).safe_substitute(words)


def tasks_of(template: Template, goals: Iterable[str], words: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The first task list: the template's tasks, one for each goal, the template's last tasks (which wait for all)."""
    tasks = {id_: _filled_task(task, words) for id_, task in template.tasks.items()}
    rule = template.goal_tasks
    made: list[str] = []
    for number, goal in enumerate(goals, 1):
        id_ = f"{rule['prefix']}{number}_{_slug(goal)}"
        tasks[id_] = {"title": goal, "phase": rule["phase"], "depends_on": list(rule["depends_on"])}
        made.append(id_)
    before = made or list(tasks)[-1:]
    for id_, task in template.last_tasks.items():
        tasks[id_] = {**_filled_task(task, words), "depends_on": before}
    return tasks


def _filled_task(task: Mapping[str, Any], words: Mapping[str, str]) -> dict[str, Any]:
    return {
        key: [filled(v, words) for v in value] if isinstance(value, list) else filled(str(value), words)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        for key, value in task.items()
    }


def _slug(goal: str) -> str:
    """A few readable letters of a goal for a task id; `goal` where it has none that an id may hold."""
    ascii_ = unicodedata.normalize("NFKD", goal).encode("ascii", "ignore").decode().lower()
    return _SLUG.sub("_", ascii_).strip("_")[:32].strip("_") or "goal"
