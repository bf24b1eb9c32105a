"""A YAML reader for files that people edit by hand: bounded, strict, and it knows where everything stands.

Plain scalars follow the YAML 1.2 core schema where it agrees with YAML 1.1, and stay text where the two
differ or where a number would lose its spelling (`yes`, `0123`, `12e34`, dates): a hash or a date typed
without quotes is text. Keys are always text. Duplicate keys, tags, merge keys and files that unfold beyond
the limits are refused with a line.
"""

import math
import re
from dataclasses import dataclass
from typing import Any, Final, Literal

import yaml

FILE_BYTES: Final = 1 << 20  # SPEC §3.7: text files
DEPTH: Final = 32
NODES: Final = 200_000
KEY_CHARS: Final = 128  # far below the 1,024 characters, escapes included, at which a YAML simple key ends
INT_DIGITS: Final = 40

Level = Literal["broken", "error", "warning"]

_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STR_TAGS: Final = frozenset({None, "!", "tag:yaml.org,2002:str"})
_WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,39})\Z")
FLOAT: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,39})\.[0-9]{1,400}(?:[eE][-+][0-9]{1,4})?\Z")


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing wrong in a file.

    `line` counts from 1. `broken`: the file cannot be read; `error`: one item does not meet its schema; `warning`:
    it can be used as it is.
    """

    path: str
    line: int
    message: str
    hint: str = ""
    level: Level = "broken"


class Unreadable(Exception):
    """A file cannot be read as YAML of the expected form."""

    def __init__(self, line: int, message: str, hint: str = "") -> None:
        super().__init__(f"line {line}: {message}")
        self.line = line
        self.message = message
        self.hint = hint


class Node:
    """A value and its place: `text[start:end]` is its content, `line` (from 1) and `column` (from 0) where it
    begins.

    `keys` holds the key nodes of a mapping, `parts` the children of a mapping or a list, `raw` a scalar's
    spelling.
    """

    __slots__ = ("column", "end", "keys", "line", "parts", "raw", "size", "start", "value")

    def __init__(self, value: Any, mark: Any, end: int) -> None:
        self.value = value
        self.start: int = mark.index
        self.line: int = mark.line + 1
        self.column: int = mark.column
        self.end = end
        self.keys: dict[str, Node] = {}
        self.parts: dict[str, Node] | list[Node] | None = None
        self.raw: str | None = None
        self.size = 1


def decode(data: bytes) -> str:
    """UTF-8 text of a file without its byte order mark. Raises Unreadable if too large or not UTF-8."""
    if len(data) > FILE_BYTES:
        raise Unreadable(
            1, f"the file has {len(data)} bytes; at most {FILE_BYTES} are read", "Split or shorten it."
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise Unreadable(line, "the file is not UTF-8 text", "Save it as UTF-8.") from exc


def parse(text: str) -> Node | None:
    """The one document in `text`; None if there is nothing but space and comments. Raises Unreadable."""
    try:
        return _Reader(text).document()
    except yaml.MarkedYAMLError as exc:
        mark: Any = exc.problem_mark or exc.context_mark
        line = mark.line + 1 if mark else 1
        raise Unreadable(line, f"not valid YAML: {exc.problem or exc.context}", "Correct this line.") from exc
    except yaml.reader.ReaderError as exc:
        line = text.count("\n", 0, exc.position) + 1
        raise Unreadable(line, "a character that YAML does not allow", "Remove or escape it.") from exc


class _Reader:
    """Builds nodes from parser events, so that depth and size are checked before they can do harm."""

    def __init__(self, text: str) -> None:
        self._loader = _LOADER(text)
        self._anchors: dict[str, Node] = {}
        self._count = 0

    def document(self) -> Node | None:
        try:
            self._loader.get_event()
            if self._loader.check_event(yaml.StreamEndEvent):
                return None
            self._loader.get_event()
            node = self._node(self._loader.get_event(), 0)
            self._loader.get_event()
            if not self._loader.check_event(yaml.StreamEndEvent):
                line = self._loader.peek_event().start_mark.line + 1
                raise Unreadable(line, "a second document in the file", "Keep one document, without `---`.")
            return node
        finally:
            self._loader.dispose()

    def _node(self, event: Any, depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        self._spend(1, event)
        if depth > DEPTH:
            raise Unreadable(_line(event), f"nested deeper than {DEPTH} levels", "Flatten it.")
        if isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event)
        elif event.tag not in (None, "!"):
            raise _tagged(event)
        elif isinstance(event, yaml.MappingStartEvent):
            node = self._mapping(event, depth)
        else:
            node = self._sequence(event, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _alias(self, event: Any) -> Node:
        known = self._anchors.get(event.anchor)
        if known is None:
            raise Unreadable(
                _line(event), f"alias *{event.anchor} has no anchor before it", "Write the value out."
            )
        self._spend(known.size, event)
        node = Node(known.value, event.start_mark, event.end_mark.index)
        node.parts, node.raw, node.size = known.parts, known.raw, known.size
        return node

    def _spend(self, nodes: int, event: Any) -> None:
        self._count += nodes
        if self._count > NODES:
            raise Unreadable(
                _line(event), f"the file unfolds to more than {NODES} values", "Write less, without aliases."
            )

    def _scalar(self, event: Any) -> Node:
        if event.tag not in _STR_TAGS:
            raise _tagged(event)
        plain = event.tag is None and event.implicit[0]
        node = Node(_plain(event.value) if plain else event.value, event.start_mark, event.end_mark.index)
        node.raw = event.value
        return node

    def _mapping(self, event: Any, depth: int) -> Node:
        value: dict[str, Any] = {}
        node = Node(value, event.start_mark, event.end_mark.index)
        node.parts = parts = {}
        while not isinstance(got := self._loader.get_event(), yaml.MappingEndEvent):
            key = self._node(got, depth + 1)
            name = key.raw
            if name is None:
                raise Unreadable(key.line, "a key that is not text", "Use a plain word as the key.")
            if len(name) > KEY_CHARS:
                raise Unreadable(key.line, f"a key of more than {KEY_CHARS} characters", "Shorten the key.")
            if name in value:
                raise Unreadable(key.line, f"duplicate key {name!r}", "Keep one of the two.")
            if name == "<<" and got.implicit[0]:
                raise Unreadable(key.line, "merge keys (<<) are not read here", "Write the fields out.")
            child = self._node(self._loader.get_event(), depth + 1)
            value[name], parts[name], node.keys[name] = child.value, child, key
            node.end = child.end
            node.size += child.size + 1
        if event.flow_style:
            node.end = got.end_mark.index
        return node

    def _sequence(self, event: Any, depth: int) -> Node:
        value: list[Any] = []
        node = Node(value, event.start_mark, event.end_mark.index)
        parts: list[Node] = []
        node.parts = parts
        while not isinstance(got := self._loader.get_event(), yaml.SequenceEndEvent):
            child = self._node(got, depth + 1)
            value.append(child.value)
            parts.append(child)
            node.end = child.end
            node.size += child.size
        if event.flow_style:
            node.end = got.end_mark.index
        return node


def _plain(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if _INT.match(text):
        return int(text)
    if FLOAT.match(text) and math.isfinite(number := float(text)):
        return number
    return text


def _line(event: Any) -> int:
    return event.start_mark.line + 1


def _tagged(event: Any) -> Unreadable:
    return Unreadable(_line(event), f"the tag {event.tag} is not allowed", "Remove the tag.")
