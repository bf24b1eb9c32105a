"""YAML as nodes that know their line, for files that decide something: nothing is read that could mean two things.

Refused: anchors and aliases (a small file could unfold into a huge one), tags, several documents, keys given twice,
deep nesting, and words that YAML 1.1 turns into something else (`no`, `on`, `1:30`) where text is expected.
"""

import difflib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

MAX_BYTES: Final = 256 * 1024
MAX_ISSUES: Final = 100
_MAX_CANDIDATES: Final = 200
_STR: Final = "tag:yaml.org,2002:str"
_SEQ: Final = "tag:yaml.org,2002:seq"
_MAP: Final = "tag:yaml.org,2002:map"
_yaml: Final[Any] = yaml  # its functions come without types
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVERS: Final[dict[str, list[tuple[str, re.Pattern[str]]]]] = _yaml.SafeLoader.yaml_implicit_resolvers
_NUMBER: Final = re.compile(r"(?:0|[1-9][0-9]{0,8})\Z")


@dataclass(frozen=True, slots=True)
class Issue:
    """One mistake: `line` and `column` count from 1, `path` says where in the document, `hint` what to write instead;
    `code` is a word for programs.
    """

    line: int
    path: str
    message: str
    hint: str
    column: int = 1
    code: str = "invalid"

    def __str__(self) -> str:
        return f"{self.line}: {self.path + ': ' if self.path else ''}{self.message}"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a text may hold before it is read: bytes, levels, parts (keys, values, brackets), items of one list."""

    size: int = MAX_BYTES
    depth: int = 12
    parts: int = 50_000
    items: int = 50_000


class Enough(Exception):
    """More mistakes than anybody reads: raised by `Reader.fault`."""


@dataclass
class Reader:
    """Reads nodes and collects every mistake, at most a hundred, so that a person corrects a file once."""

    issues: list[Issue] = field(default_factory=list[Issue])
    bounds: Bounds = Bounds()

    def fault(
        self, node: "yaml.Node | int", path: str, message: str, hint: str = "", code: str = "invalid"
    ) -> None:
        """Note a mistake at a node or a line. Raises `Enough` where no more are kept."""
        line, column = (
            (node, 1) if isinstance(node, int) else (node.start_mark.line + 1, node.start_mark.column + 1)
        )
        if len(self.issues) >= MAX_ISSUES:
            raise Enough
        self.issues.append(Issue(line, path, message, hint, column, code))

    def document(self, text: str) -> yaml.Node | None:
        """The one document of a text, or None with the reason among the issues."""
        if len(text.encode("utf-8", "replace")) > self.bounds.size:
            self.fault(
                1,
                "",
                f"the file is larger than {self.bounds.size} bytes",
                "Make it smaller.",
                "too_large",
            )
            return None
        try:
            return self._composed(text)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
            said = getattr(error, "problem", None) or "this is not YAML"
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            hint = "Check indentation, colons and quotes."
            self.issues.append(Issue(line, "", str(said), hint, column, "not_yaml"))
            return None

    def _composed(self, text: str) -> yaml.Node | None:
        """The nodes of a plain document, made while it is looked through: a long file is read once, not twice."""
        bounds, documents, name = self.bounds, 0, ""
        tree = _Tree()
        for number, event in enumerate(_yaml.parse(text, Loader=_LOADER)):
            if isinstance(event, yaml.NodeEvent):
                why = _not_plain(event)
                if why is None and tree.siblings >= bounds.items:
                    why = (f"more than {bounds.items} items", "Cut it into several files.", "too_many")
                if why is not None:
                    self.fault(event.start_mark.line + 1, name if why[-1] == "too_many" else "", *why)
                    return None
                if tree.depth == 1 and isinstance(event, yaml.ScalarEvent):
                    name = str(event.value)[:80]  # the key at the top of the file below which we are
            tree.take(event)
            documents += isinstance(event, yaml.DocumentStartEvent)
            if tree.depth > bounds.depth or number > bounds.parts or documents > 1:
                why = (
                    "too deep, too long, or more than one document",
                    "Keep one plain document.",
                    "too_deep",
                )
                self.fault(event.start_mark.line + 1, "", *why)
                return None
        return tree.root

    def mapping(
        self, node: yaml.Node, path: str, known: tuple[str, ...], required: tuple[str, ...] = ()
    ) -> dict[str, yaml.Node]:
        """Key → value node of the known keys; every other key, and a missing one, is a mistake."""
        if not isinstance(node, yaml.MappingNode):
            self.fault(node, path, "expected keys with values", f"Known keys: {', '.join(known)}.")
            return {}
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else "?"
            if name in found:
                self.fault(
                    key, _below(path, name), "this key is given twice", "Keep one of them.", "duplicate_key"
                )
            elif name not in known:
                hint = f"{nearest(str(name), known)}Known keys: {', '.join(known)}."
                self.fault(key, _below(path, str(name)), "unknown key", hint, "unknown_key")
            else:
                found[name] = value
        for name in required:
            if name not in found:
                self.fault(node, path, f"{name} is missing", f"Add {name}.", "missing_key")
        return found

    def items(self, node: yaml.Node, path: str, most: int) -> Iterator[tuple[yaml.Node, str]]:
        """The items of a list with their paths."""
        if not isinstance(node, yaml.SequenceNode):
            self.fault(node, path, "expected a list", "Write [a, b], or one item a line with a dash.")
            return
        if len(node.value) > most:
            self.fault(node, path, f"more than {most} items", "Use wider patterns.")
            return
        for number, item in enumerate(node.value):
            yield item, f"{path}[{number}]"

    def text(self, node: yaml.Node, path: str) -> str | None:
        """A text, or None with the reason among the issues."""
        if isinstance(node, yaml.ScalarNode) and node.tag == _STR:
            return node.value
        said = (
            f"{node.value!r} is read as something else"
            if isinstance(node, yaml.ScalarNode)
            else "expected text"
        )
        self.fault(node, path, said, "Put it into quotes.")
        return None

    def number(self, node: yaml.Node, path: str, least: int, most: int) -> int | None:
        """A whole number within bounds, in plain decimal digits."""
        if isinstance(node, yaml.ScalarNode) and not node.style and _NUMBER.match(node.value):
            value = int(node.value)
            if least <= value <= most:
                return value
        self.fault(node, path, f"expected a whole number from {least} to {most}", "Write digits alone.")
        return None

    def switch(self, node: yaml.Node, path: str) -> bool | None:
        """`true` or `false`, and none of the other words YAML knows for them."""
        if isinstance(node, yaml.ScalarNode) and not node.style and node.value in ("true", "false"):
            return node.value == "true"
        self.fault(node, path, "expected true or false", "Write true or false.")
        return None


class _Tree:
    """Makes nodes of events, as the library's composer does where there are no aliases."""

    def __init__(self) -> None:
        self.root: yaml.Node | None = None
        self._open: list[
            tuple[yaml.CollectionNode, list[Any]]
        ] = []  # with what was put into it, keys as well

    @property
    def depth(self) -> int:
        """How many lists and mappings are open."""
        return len(self._open)

    @property
    def siblings(self) -> int:
        """How many nodes the innermost open one holds."""
        return len(self._open[-1][1]) if self._open else 0

    def take(self, event: yaml.Event) -> None:
        """The next event."""
        if isinstance(event, yaml.ScalarEvent):
            tag = _tag_of(event)
            self._put(yaml.ScalarNode(tag, event.value, event.start_mark, event.end_mark, event.style))
        elif isinstance(event, yaml.CollectionStartEvent):
            listed = isinstance(event, yaml.SequenceStartEvent)
            kind, tag = (yaml.SequenceNode, _SEQ) if listed else (yaml.MappingNode, _MAP)
            node = kind(tag, [], event.start_mark, None, event.flow_style)
            self._put(node)
            self._open.append((node, []))
        elif isinstance(event, yaml.CollectionEndEvent):
            node, held = self._open.pop()
            node.end_mark = event.end_mark
            pairs = isinstance(node, yaml.MappingNode)
            node.value = list(zip(held[::2], held[1::2], strict=True)) if pairs else held

    def _put(self, node: yaml.Node) -> None:
        if self._open:
            self._open[-1][1].append(node)
        else:
            self.root = node


def _tag_of(event: yaml.ScalarEvent) -> str:
    """What YAML takes an untagged text for."""
    if event.implicit[0]:
        for tag, pattern in _RESOLVERS.get(event.value[:1], ()):
            if pattern.match(event.value):
                return tag
    return _STR


def _not_plain(event: yaml.NodeEvent) -> tuple[str, str, str] | None:
    if event.anchor is not None:
        return "anchors and aliases are not allowed", "Write the text out.", "alias"
    if getattr(event, "tag", None) not in (None, "!"):
        return "tags are not allowed", "Leave out what begins with !.", "tag"
    return None


def nearest(word: str, known: Collection[str]) -> str:
    """`Did you mean X? `, or nothing where no known word is near or there are too many of them."""
    if len(word) > 100 or len(known) > _MAX_CANDIDATES:
        return ""
    found = difflib.get_close_matches(word, known, n=1)
    return f"Did you mean {found[0]}? " if found else ""


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
