"""The forms of the delivery files: reading them whole, whoever wrote them, and writing them whole."""

import hashlib
import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from builderos.assets.workspaces.delivery.flow import Item, encode, flow, key_token, text
from builderos.assets.workspaces.delivery.parse import (
    FLOAT,
    INT_DIGITS,
    KEY_CHARS,
    Node,
    Unreadable,
    decode,
    parse,
)

Pairs = list[tuple[str, Item]]

_JOIN: Final = "\x1f"

# Text that may mean something else as YAML than as JSON; `\ud83d\ude00` is one character only in JSON.
UNSAFE: Final = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]|\\\\u[dD][89a-fA-F]"
)
_COMMENTS: Final = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\n)*")


@dataclass(frozen=True, slots=True)
class Shape:
    """The form of one kind of file.

    `field`: the top-level member that holds the items (None: the list is the document). `keys`: the members
    that name an item of a list together. `mapping`: items are members of a mapping, named by their keys.
    """

    name: str
    field: str | None = None
    keys: tuple[str, ...] = ()
    mapping: bool = False

    @property
    def head(self) -> str:
        """The lines before the first item."""
        return f"version: 1\n{self.field}:\n" if self.field else ""

    @property
    def empty(self) -> str:
        """The file without any item."""
        nothing = "{}" if self.mapping else "[]"
        return f"version: 1\n{self.field}: {nothing}\n" if self.field else nothing + "\n"

    @property
    def indent(self) -> str:
        """The server's indentation of an item."""
        return "  " if self.field else ""

    def start(self, key: str) -> str:
        """What the line of the item `key` begins with, after the indentation."""
        if self.mapping:
            return key_token(key) + ": {"
        named = key.split(_JOIN) if len(self.keys) > 1 else [key]
        values = zip(self.keys, named, strict=False)  # a name by content fits no line, on purpose
        return "- {" + ", ".join([f'"{k}": {text(v)}' for k, v in values])

    def line(self, key: str, item: Item) -> str:
        """The item's whole line, without indentation and newline."""
        if self.mapping:
            return f"{key_token(key)}: {flow(item)}"
        return "- " + flow({k: item[k] for k in self.keys if k in item} | item)


CHANGELOG: Final = Shape("changelog", keys=("id",))
REVERTS: Final = Shape("reverts", keys=("reverted_sha", "new_sha_of"))
MEMORY: Final = Shape("memory", field="files", keys=("path",))
TASKS: Final = Shape("tasks", field="tasks", mapping=True)


@dataclass(slots=True)
class Entry:
    """An item found by a parse; `start`, `end` bound what a replacement replaces, `edge` is where its line begins."""

    key: str
    item: Item
    start: int
    end: int
    edge: int
    line: int
    node: Node


@dataclass(slots=True)
class Document:
    """A whole file found by a parse; `members` are the keys at its top."""

    text: str
    entries: list[Entry]
    extras: Item
    members: tuple[str, ...] = ()

    @property
    def pairs(self) -> dict[str, Item]:
        """The items; of two with one key the later."""
        return {e.key: e.item for e in self.entries}


def read(shape: Shape, data: bytes) -> Document:
    """Parse a file in whatever YAML form. Raises Unreadable if it is not this shape."""
    source = decode(data)
    node = parse(source)
    if node is None or node.value is None:
        return Document(source, [], {})
    items, extras, members = node, {}, ()
    if shape.field:
        if not isinstance(node.parts, dict):
            raise Unreadable(node.line, f"a mapping with `version` and `{shape.field}` is expected here")
        if node.value.get("version", 1) != 1:
            line = node.keys["version"].line
            raise Unreadable(line, "an unknown format version", "Write `version: 1`, or update the server.")
        extras = {k: v for k, v in node.value.items() if k not in ("version", shape.field)}
        members = tuple(node.parts)
        if node.value.get(shape.field) is None:
            return Document(source, [], extras, members)
        items = node.parts[shape.field]
    entries = [_entry(shape, source, *part) for part in _parts(shape, items)]
    if shape is not MEMORY:
        _tell_apart(entries)
    return Document(source, entries, extras, members)


def _tell_apart(entries: list[Entry]) -> None:
    """Name entries of a log that share an id by their content: a copied line must not hide another."""
    seen: set[str] = set()
    for entry in entries:
        if entry.key in seen:
            entry.key = content_key(entry.item)
        seen.add(entry.key)


def _parts(shape: Shape, items: Node) -> Iterable[tuple[str, Node, Node]]:
    """(key, place, item) of each item; the place is what a new line replaces from."""
    if shape.mapping:
        if not isinstance(items.parts, dict):
            raise Unreadable(items.line, f"`{shape.field}` must be a mapping from id to item")
        for key, node in items.parts.items():
            if not isinstance(node.parts, dict):
                raise Unreadable(items.keys[key].line, f"{key!r} must be a mapping of fields")
            yield key, items.keys[key], node
        return
    if not isinstance(items.parts, list):
        raise Unreadable(items.line, "a list is expected here", "Begin each entry with `- `.")
    for number, node in enumerate(items.parts):
        if not isinstance(node.parts, dict):
            raise Unreadable(node.line, f"entry {number + 1} must be a mapping of fields")
        yield _list_key(shape, node), node, node


def _list_key(shape: Shape, node: Node) -> str:
    """An item's name; one without is named by its content, so that a merge can neither lose nor double it."""
    parts = node.parts if isinstance(node.parts, dict) else {}
    for name in shape.keys:
        if name in parts and parts[name].raw:
            node.value[name] = parts[name].raw  # an id or path that looks like a number is text
    if shape is MEMORY and not node.value.get("path"):
        raise Unreadable(node.line, "an entry without `path`", "Name the file the entry is about.")
    return key_of(shape, node.value)


def content_key(item: Item) -> str:
    """A name for an item that has none."""
    return "sha256:" + hashlib.sha256(json.dumps(item, sort_keys=True).encode()).hexdigest()


def key_of(shape: Shape, item: Item) -> str:
    """The name of a list item."""
    values = [item.get(name) for name in shape.keys]
    named = [v for v in values if isinstance(v, str) and v and (len(values) == 1 or _JOIN not in v)]
    return _JOIN.join(named) if len(named) == len(values) else content_key(item)


def _entry(shape: Shape, source: str, key: str, place: Node, node: Node) -> Entry:
    edge = source.rfind("\n", 0, place.start) + 1
    start = place.start
    dash = -1 if shape.mapping else source.rfind("-", edge, place.start)
    if dash >= 0 and not source[dash + 1 : place.start].strip(" "):
        start = dash
    end = max(node.end, node.start)
    end = start + len(source[start:end].rstrip())
    return Entry(key, node.value, start, end, edge, place.line, node)


class _Decoder:
    """json.loads that refuses whatever YAML would read differently."""

    def __init__(self) -> None:
        self.decode = json.JSONDecoder(
            object_pairs_hook=self._pairs,
            parse_float=self._float,
            parse_int=self._int,
            parse_constant=self._refuse,
        ).decode

    @staticmethod
    def _pairs(pairs: list[tuple[str, Any]]) -> Item:
        item = dict(pairs)
        if len(item) < len(pairs) or any(len(k) > KEY_CHARS for k in item):
            raise ValueError("keys")
        return item

    @staticmethod
    def _float(number: str) -> float:
        if not FLOAT.match(number) or not math.isfinite(value := float(number)):
            raise ValueError(number)
        return value

    @staticmethod
    def _int(number: str) -> int:
        if len(number) > INT_DIGITS or number == "-0":
            raise ValueError(number)
        return int(number)

    @staticmethod
    def _refuse(constant: str) -> Any:
        raise ValueError(constant)


strict: Final = _Decoder().decode


def own_line(shape: Shape, line: str) -> tuple[str, Item] | None:
    """Key and item of a line (without indentation) in the server's form; None if it is not. `line` is free of
    UNSAFE.
    """
    token, sep, body = line.partition(": {") if shape.mapping else line.partition("- {")
    if not sep or not line.endswith("}") or (token and not shape.mapping):
        return None
    try:
        item = strict("{" + body)
        key = (json.loads(token) if token[0] == '"' else token) if shape.mapping else key_of(shape, item)
    except (ValueError, RecursionError, IndexError):
        return None  # not the server's form, so the full parse decides
    return (key, item) if line.startswith(shape.start(key)) else None


def canonical(shape: Shape, data: bytes) -> Pairs | None:
    """The items of a file of which every line is the server's (leading comments allowed); None if it is not such."""
    try:
        source = data.decode()
    except UnicodeDecodeError:
        return None
    if UNSAFE.search(source):
        return None
    comments = _COMMENTS.match(source)
    body = source[comments.end() :] if comments else source
    if body in ("", shape.empty):
        return [] if body or not shape.field else None
    if not body.startswith(shape.head + shape.indent) or not body.endswith("\n"):
        return None
    pairs: Pairs = []
    for line in body[len(shape.head) : -1].split("\n"):
        found = own_line(shape, line[len(shape.indent) :]) if line.startswith(shape.indent) else None
        if found is None:
            return None
        pairs.append(found)
    return pairs if len(dict(pairs)) == len(pairs) else None


def dump(
    shape: Shape, items: Iterable[tuple[str, Item]], *, comments: str = "", extras: Item | None = None
) -> bytes:
    """The file in the server's form; `extras` are members beside the items that people have added."""
    lines = [f"{shape.indent}{shape.line(key, item)}\n" for key, item in items]
    if not extras:
        return (comments + (shape.head + "".join(lines) if lines else shape.empty)).encode()
    beside = "".join(f"{key_token(k)}: {encode(v)}\n" for k, v in extras.items())
    field = shape.head.removeprefix("version: 1\n") if lines else shape.empty.removeprefix("version: 1\n")
    return f"{comments}version: 1\n{beside}{field}{''.join(lines)}".encode()


def comments_of(source: str) -> str:
    """The comment lines a file begins with."""
    found = _COMMENTS.match(source if source.endswith("\n") else source + "\n")
    return found[0] if found else ""
