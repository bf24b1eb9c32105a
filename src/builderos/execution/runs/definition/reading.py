"""The values that stand in a pipeline file: names, spans of time, lists, texts with expressions in them."""

import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

import yaml

from builderos.core.yamlnodes import Bounds, Reader, nearest

from .expressions import Unreadable, read
from .schema import MAX_NODES, Value
from .templates import OPEN, parts_of

T = TypeVar("T")
BOUNDS: Final = Bounds(size=1024 * 1024, depth=12, parts=200_000, items=MAX_NODES)
ID: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}\Z")
SPAN: Final = re.compile(r"(?:[0-9]{1,6}(?:ms|s|m|h|d))+\Z")
_SPAN_PART: Final = re.compile(r"([0-9]{1,6})(ms|s|m|h|d)")
_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_TAG: Final = "tag:yaml.org,2002:"
_FLOAT: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,15})?\Z")
_WORDS: Final = {"true": True, "false": False, "null": None, "": None, "~": None}
MAX_TEXT: Final = 64 * 1024


class Words(Reader):
    """A reader with the words of pipeline files."""

    def __init__(self) -> None:
        super().__init__(bounds=BOUNDS)

    def line_of(self, node: yaml.Node) -> int:
        """Its line, from 1."""
        return node.start_mark.line + 1

    def short(self, node: yaml.Node, path: str, most: int = 500) -> str | None:
        """One line of text."""
        found = self.text(node, path)
        if found is not None and (not found.strip() or len(found) > most or not found.isprintable()):
            self.fault(node, path, f"expected one line of at most {most} characters", "Shorten it.")
            return None
        return found

    def long(self, node: yaml.Node, path: str) -> str | None:
        """Text of several lines, e.g. a script."""
        found = self.text(node, path)
        if found is not None and (not found.strip() or len(found) > MAX_TEXT or "\x00" in found):
            self.fault(node, path, f"expected text of at most {MAX_TEXT} characters", "Put it into a file.")
            return None
        return found

    def fitting(
        self, node: yaml.Node, path: str, pattern: re.Pattern[str], what: str, hint: str
    ) -> str | None:
        """Text that fits a pattern."""
        found = self.text(node, path)
        if found is not None and not pattern.match(found):
            self.fault(node, path, f"{found[:80]!r} is not {what}", hint)
            return None
        return found

    def id(self, node: yaml.Node, path: str) -> str | None:
        """A name of a step, lane, parameter or pipeline."""
        hint = "Use small letters, digits, - and _, at most 63, and begin with a letter."
        return self.fitting(node, path, ID, "a name", hint)

    def span(self, node: yaml.Node, path: str, most_s: float) -> float | None:
        """Seconds of `90s`, `10m`, `1h30m`, `2d`."""
        found = self.text(node, path)
        if found is None:
            return None
        parts = _SPAN_PART.findall(found) if SPAN.match(found) else []
        seconds = sum(int(number) * _SECONDS[unit] for number, unit in parts)
        if not parts or not 0 < seconds <= most_s:
            said = f"{found[:40]!r} is not a span of time up to {most_s / 86_400:g} days"
            self.fault(node, path, said, "Write 30s, 10m, 1h30m or 2d.")
            return None
        return seconds

    def real(self, node: yaml.Node, path: str, least: float, most: float) -> float | None:
        """A number within bounds, in plain decimal digits."""
        if isinstance(node, yaml.ScalarNode) and not node.style and _FLOAT.match(node.value):
            value = float(node.value)
            if least <= value <= most:
                return value
        self.fault(node, path, f"expected a number from {least:g} to {most:g}", "Write digits.")
        return None

    def choice(self, node: yaml.Node, path: str, known: tuple[str, ...]) -> str | None:
        """One word of a few."""
        found = self.text(node, path)
        if found is not None and found not in known:
            self.fault(
                node,
                path,
                f"{found[:80]!r} is not known here",
                f"{nearest(found, known)}Write {' or '.join(known)}.",
            )
            return None
        return found

    def listed(
        self, node: yaml.Node, path: str, most: int, one: Callable[[yaml.Node, str], T | None]
    ) -> tuple[T, ...]:
        """A list, or one item without brackets; an item given twice is a mistake."""
        if isinstance(node, yaml.ScalarNode):
            single = one(node, path)
            return () if single is None else (single,)
        found: list[T] = []
        for item, where in self.items(node, path, most):
            value = one(item, where)
            if value is not None and value in found:
                self.fault(item, where, "listed twice", "Keep one of them.", "duplicate")
            elif value is not None:
                found.append(value)
        return tuple(found)

    def value(self, node: yaml.Node, path: str) -> Value:
        """Any JSON value; texts may hold expressions."""
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, where) for item, where in self.items(node, path, MAX_NODES)]
        found: dict[str, Value] = {}
        for name, item in self.free_mapping(node, path, 200).items():
            found[name] = self.value(item, f"{path}.{name}")
        return found

    def free_mapping(self, node: yaml.Node, path: str, most: int) -> dict[str, yaml.Node]:
        """Keys that the author chooses; each is text, none stands twice."""
        if not isinstance(node, yaml.MappingNode):
            self.fault(node, path, "expected keys with values", "Write {key: value}.")
            return {}
        if len(node.value) > most:
            self.fault(node, path, f"more than {most} keys", "Use fewer.", "too_many")
            return {}
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name: Any = key.value if isinstance(key, yaml.ScalarNode) else None
            if (
                not isinstance(name, str)
                or not name
                or len(name) > 200
                or OPEN in name
                or not name.isprintable()
            ):
                self.fault(key, path, "this cannot be a key", "Use plain words.")
            elif name in found:
                self.fault(
                    key, f"{path}.{name}", "this key is given twice", "Keep one of them.", "duplicate_key"
                )
            else:
                found[name] = value
        return found

    def _scalar(self, node: yaml.ScalarNode, path: str) -> Value:
        if node.tag == _TAG + "str":
            return self.template(node, path)
        text = str(node.value)
        if text in _WORDS and node.tag in (_TAG + "bool", _TAG + "null"):
            return _WORDS[text]
        if _FLOAT.match(text):
            return float(text) if "." in text else int(text)
        self.fault(node, path, f"{text[:80]!r} is read as something else", "Put it into quotes.")
        return None

    def template(self, node: yaml.Node, path: str) -> str | None:
        """Text whose expressions can be read."""
        found = self.long(node, path) if not _is_empty(node) else ""
        if found is not None and OPEN in found:
            try:
                parts_of(found)
            except Unreadable as error:
                self.unreadable(node, path, error)
                return None
        return found

    def condition(self, node: yaml.Node, path: str) -> str | None:
        """A condition, with or without `${{ }}` around it."""
        found = self.text(node, path) if not _is_switch(node) else str(getattr(node, "value", ""))
        if found is None:
            return None
        bare = found.strip()
        offset = len(found) - len(found.lstrip())
        if bare.startswith(OPEN) and bare.endswith("}}"):
            bare, offset = bare[3:-2], offset + 3
        try:
            read(bare)
        except Unreadable as error:
            self.unreadable(node, path, Unreadable(error.message, error.hint, error.column + offset))
            return None
        return bare.strip()

    def unreadable(self, node: yaml.Node, path: str, error: Unreadable) -> None:
        """Note a mistake inside a text, at its column where the text stands on one line as it is."""
        self.fault(node, path, error.message, error.hint, "expression")
        style = getattr(node, "style", None)
        if node.start_mark.line == node.end_mark.line and style in (None, "'", '"'):
            first = self.issues[-1]
            column = first.column + error.column + (1 if style else 0)
            self.issues[-1] = type(first)(first.line, path, error.message, error.hint, column, "expression")


def _is_empty(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.value == ""


def _is_switch(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and not node.style and node.value in ("true", "false")
