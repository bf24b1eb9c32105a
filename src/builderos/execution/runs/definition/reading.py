"""The values that stand in a pipeline file: names, spans of time, lists, texts with expressions in them."""

import re
from typing import Final

import yaml

from builderos.core.yamlnodes import Bounds
from builderos.core.yamlwords import Words as YamlWords

from .expressions import Unreadable, read
from .schema import MAX_NODES
from .templates import OPEN, parts_of

BOUNDS: Final = Bounds(size=1024 * 1024, depth=12, parts=200_000, items=MAX_NODES)
SPAN: Final = re.compile(r"(?:[0-9]{1,6}(?:ms|s|m|h|d))+\Z")
_SPAN_PART: Final = re.compile(r"([0-9]{1,6})(ms|s|m|h|d)")
_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}


class Words(YamlWords):
    """A reader with the words of pipeline files."""

    def __init__(self) -> None:
        super().__init__(bounds=BOUNDS)

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

    def usable_key(self, name: str) -> bool:
        """Whether the author may choose this key: none with an expression in it."""
        return super().usable_key(name) and OPEN not in name

    def words(self, node: yaml.ScalarNode, path: str) -> str | None:
        """A text among the values; it may hold expressions."""
        return self.template(node, path)

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
