"""What is wrong with a file people may have edited, line by line."""

import difflib
import types
from collections.abc import Iterable, Iterator
from typing import Any, Final, Union, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError

from builderos.assets.workspaces.delivery.config import clash, layout_of
from builderos.assets.workspaces.delivery.formats import (
    ChangelogEntry,
    Config,
    MemoryEntry,
    RevertedCommit,
    Task,
    is_task_id,
)
from builderos.assets.workspaces.delivery.layout import (
    CONFIG,
    NAMES,
    Layout,
    is_delivery,
    path_fault,
    rotated,
    shard,
)
from builderos.assets.workspaces.delivery.lines import Block, issue
from builderos.assets.workspaces.delivery.memory import hashed
from builderos.assets.workspaces.delivery.parse import Issue, Node, Unreadable, decode, parse
from builderos.assets.workspaces.delivery.shapes import (
    CHANGELOG,
    MEMORY,
    REVERTS,
    TASKS,
    Document,
    Shape,
    read,
)

_MODELS: Final[dict[str, type[BaseModel]]] = {
    CHANGELOG.name: ChangelogEntry,
    REVERTS.name: RevertedCommit,
    MEMORY.name: MemoryEntry,
    TASKS.name: Task,
}


def validate(path: str, data: bytes, layout: Layout | None = None) -> list[Issue]:
    """Everything wrong with one file, in the order of its lines; [] for a file that is none of the server's."""
    layout = layout or Layout()
    try:
        if path == CONFIG:
            found = list(_config(path, data))
        else:
            shape = shape_of(path, layout)
            found = list(_items(path, shape, read(shape, data))) if shape else []
    except Unreadable as exc:
        return [issue(path, exc)]
    return sorted(found, key=lambda i: i.line)


def opens(path: str, data: bytes, layout: Layout) -> bool:
    """Whether a file is one of the delivery files and can be read; files set aside as broken cannot."""
    shape = shape_of(path, layout)
    if shape is None:
        return False
    try:
        Block(shape, data)
    except Unreadable:
        return False
    return True


def shape_of(path: str, layout: Layout) -> Shape | None:
    """The form a path must have; None if it is no delivery file, or one set aside as broken."""
    name = path.rpartition("/")[2]
    if not is_delivery(path, layout) or ((number := rotated(name)) and number[1]):
        return None
    for shape, place, folder in (
        (TASKS, layout.task, None),
        (MEMORY, layout.memory, layout.memory_folder),
        (CHANGELOG, layout.changelog, layout.changelog_folder),
        (REVERTS, layout.reverted, layout.reverted_folder),
    ):
        if path == place or (folder and path == f"{folder}/{name}"):
            return shape
    return None


def _items(path: str, shape: Shape, doc: Document) -> Iterator[Issue]:
    model = _MODELS[shape.name]
    seen: dict[str, int] = {}
    for entry in doc.entries:
        yield from _model(path, model, entry.item, entry.node, entry.line)
        yield from _similar(path, model, entry.node)
        name = str(entry.item.get("id", entry.key))
        if name in seen:
            message = f"{name!r} stands here a second time (first on line {seen[name]})"
            yield Issue(path, entry.line, message, "Keep one of the two.", "error")
        seen.setdefault(name, entry.line)
    if shape is TASKS:
        yield from _tasks(path, doc)
    prefix = shard(path.rpartition("/")[2]) if shape is MEMORY else None
    for entry in doc.entries if prefix else ():
        if not hashed(entry.key).startswith(prefix or ""):
            hint = "Write it into the memory file itself; the server moves it to its place."
            yield Issue(path, entry.line, f"{entry.key!r} is not looked for in this file", hint, "error")
    for key in doc.extras:
        guess = _guess(key, ["version", shape.field or ""])
        if guess:
            yield Issue(path, 1, f"unknown member {key!r}", guess, "warning")


def _tasks(path: str, doc: Document) -> Iterator[Issue]:
    ids = doc.pairs
    for entry in doc.entries:
        if not is_task_id(entry.key):
            hint = "Use 1 to 64 letters, digits, `.`, `-` and `_`; begin with a letter, a digit or `_`."
            yield Issue(path, entry.line, f"{entry.key!r} cannot be the id of a task", hint, "error")
        needs = entry.item.get("depends_on")
        for needed in cast("list[Any]", needs) if isinstance(needs, list) else ():
            if isinstance(needed, str) and needed not in ids:
                hint = _guess(needed, ids) or "Create it, or take it out of depends_on."
                yield Issue(
                    path, entry.line, f"{entry.key} waits for {needed!r}, which is no task", hint, "warning"
                )


def _config(path: str, data: bytes) -> Iterator[Issue]:
    node = parse(decode(data))
    if node is None or node.value is None:
        return
    if not isinstance(node.parts, dict):
        raise Unreadable(node.line, "a mapping is expected here", "Begin with `version: 1`.")
    yield from _model(path, Config, node.value, node, 1)
    yield from _unknown(path, Config, node, "")
    asked = node.parts.get("paths")
    if asked is None or not isinstance(asked.parts, dict):
        return
    for name, place in asked.parts.items():
        if name in NAMES and place.value is not None and (fault := path_fault(name, place.value)):
            message = f"paths.{name}: {place.value!r} {fault}"
            yield Issue(path, place.line, message, "Choose another place; the default is used.", "error")
    places = {name: place.value for name, place in asked.parts.items() if name in NAMES}
    if trouble := clash(layout_of(places)):
        yield Issue(path, asked.line, trouble, "Choose other places; the defaults are used.", "error")


def _model(path: str, model: type[BaseModel], item: Any, node: Node, line: int) -> Iterator[Issue]:
    try:
        model.model_validate(item)
    except ValidationError as exc:
        for error in exc.errors():
            where = ".".join(map(str, error["loc"]))
            message = f"{where}: {error['msg']}" if where else error["msg"]
            yield Issue(path, _line(node, error["loc"]) or line, message, _remedy(error["type"]), "error")


def _remedy(kind: str) -> str:
    return "Put it in quotes." if kind == "string_type" else "Correct this value."


def _line(node: Node, loc: Iterable[str | int]) -> int:
    """The line of a member, as deep as there are members."""
    line = node.line
    for step in loc:
        parts = node.parts
        if isinstance(parts, dict) and str(step) in parts:
            line = node.keys[str(step)].line if str(step) in node.keys else line
            node = parts[str(step)]
        elif isinstance(parts, list) and isinstance(step, int) and step < len(parts):
            node = parts[step]
            line = node.line
        else:
            break
    return line


def _similar(path: str, model: type[BaseModel], node: Node) -> Iterator[Issue]:
    """Members that look like a slip of the pen; others may be anything."""
    for key, place in node.keys.items():
        if key not in model.model_fields and (guess := _guess(key, model.model_fields)):
            yield Issue(path, place.line, f"unknown member {key!r}", guess, "warning")


def _unknown(path: str, model: type[BaseModel], node: Node, prefix: str) -> Iterator[Issue]:
    parts = node.parts if isinstance(node.parts, dict) else {}
    for key, child in parts.items():
        field = model.model_fields.get(key)
        if field is None:
            hint = _guess(key, model.model_fields) or "Known: " + ", ".join(model.model_fields) + "."
            line = node.keys[key].line if key in node.keys else child.line
            yield Issue(path, line, f"unknown key {prefix + key!r}", hint, "warning")
        elif inner := _section(field.annotation):
            yield from _unknown(path, inner, child, f"{prefix}{key}.")


def _section(annotation: Any) -> type[BaseModel] | None:
    choices = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    return next((c for c in choices if isinstance(c, type) and issubclass(c, BaseModel)), None)


def _guess(key: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(key, list(known), n=1, cutoff=0.75)
    return f"Did you mean {close[0]!r}?" if close else ""
