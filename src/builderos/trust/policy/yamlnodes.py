"""YAML as nodes that know their line, for files that decide over rights: nothing is read that could mean two things.

Refused: anchors and aliases (a small file could unfold into a huge one), tags, several documents, keys given twice,
deep nesting, and words that YAML 1.1 turns into something else (`no`, `on`, `1:30`) where text is expected.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

MAX_BYTES: Final = 256 * 1024
_MAX_DEPTH: Final = 12
_MAX_EVENTS: Final = 50_000
_STR: Final = "tag:yaml.org,2002:str"
_yaml: Final[Any] = yaml  # its functions come without types
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NUMBER: Final = re.compile(r"(?:0|[1-9][0-9]{0,8})\Z")


@dataclass(frozen=True, slots=True)
class Issue:
    """One mistake: `line` counts from 1, `path` says where in the document, `hint` what to write instead."""

    line: int
    path: str
    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.line}: {self.path + ': ' if self.path else ''}{self.message}"


@dataclass
class Reader:
    """Reads nodes and collects every mistake, so that a person corrects a file once."""

    issues: list[Issue] = field(default_factory=list[Issue])

    def fault(self, node: "yaml.Node | int", path: str, message: str, hint: str = "") -> None:
        """Note a mistake at a node or a line."""
        line = node if isinstance(node, int) else node.start_mark.line + 1
        self.issues.append(Issue(line, path, message, hint))

    def document(self, text: str) -> yaml.Node | None:
        """The one document of a text, or None with the reason among the issues."""
        if len(text.encode("utf-8", "replace")) > MAX_BYTES:
            self.fault(1, "", f"the file is larger than {MAX_BYTES} bytes", "Keep only rules in it.")
            return None
        try:
            return _yaml.compose(text, Loader=_LOADER) if self._is_plain(text) else None
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
            said = getattr(error, "problem", None) or "this is not YAML"
            self.fault(mark.line + 1 if mark else 1, "", str(said), "Check indentation, colons and quotes.")
            return None

    def _is_plain(self, text: str) -> bool:
        depth = documents = 0
        for number, event in enumerate(_yaml.parse(text, Loader=_LOADER)):
            line = event.start_mark.line + 1
            documents += isinstance(event, yaml.DocumentStartEvent)
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
                self.fault(line, "", "anchors and aliases are not allowed", "Write the text out.")
                return False
            if getattr(event, "tag", None) not in (None, "!"):
                self.fault(line, "", "tags are not allowed", "Leave out what begins with !.")
                return False
            if depth > _MAX_DEPTH or number > _MAX_EVENTS or documents > 1:
                self.fault(
                    line, "", "too deep, too long, or more than one document", "Keep one plain document."
                )
                return False
        return True

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
                self.fault(key, _below(path, name), "this key is given twice", "Keep one of them.")
            elif name not in known:
                self.fault(key, _below(path, str(name)), "unknown key", f"Known keys: {', '.join(known)}.")
            else:
                found[name] = value
        for name in required:
            if name not in found:
                self.fault(node, path, f"{name} is missing", f"Add {name}.")
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


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
