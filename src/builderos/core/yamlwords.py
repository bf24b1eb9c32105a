"""What stands in files that people write: names, lines, numbers, lists, any JSON value, each with its line."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import yaml

from .problems import Problem
from .yamlnodes import Issue, Reader, nearest

T = TypeVar("T")
ID: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}\Z")
MAX_TEXT: Final = 64 * 1024
MAX_KEYS: Final = 200
_MAX_KEY: Final = 200
_SHOWN: Final = 100
_TAG: Final = "tag:yaml.org,2002:"
_FLOAT: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,15})?\Z")
_WORDS: Final = {"true": True, "false": False, "null": None, "": None, "~": None}


class Words(Reader):
    """A reader of the values that most files share."""

    max_text: int = MAX_TEXT

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
        if found is not None and "\x00" in found:
            self.fault(
                node, path, "the text holds a NUL character", "Leave it out: no command can be given one."
            )
            return None
        if found is not None and (not found.strip() or len(found) > self.max_text):
            said = f"expected text of at most {self.max_text} characters"
            self.fault(node, path, said, "Put it into a file.")
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
        """A name of a thing that the author chooses."""
        hint = "Use small letters, digits, - and _, at most 63, and begin with a letter."
        return self.fitting(node, path, ID, "a name", hint)

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
            hint = f"{nearest(found, known)}Write {' or '.join(known)}."
            self.fault(node, path, f"{found[:80]!r} is not known here", hint)
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
        texts: set[str] = set()  # most lists hold text, and some of them are long
        for item, where in self.items(node, path, most):
            value = one(item, where)
            if isinstance(value, str):
                twice = value in texts
                texts.add(value)
            else:
                twice = value is not None and value in found
            if twice:
                self.fault(item, where, "listed twice", "Keep one of them.", "duplicate")
            elif value is not None:
                found.append(value)
        return tuple(found)

    def read_keys(
        self,
        keys: Mapping[str, yaml.Node],
        path: str,
        readers: Mapping[str, Callable[[yaml.Node, str], Any]],
    ) -> dict[str, Any]:
        """What readers make of the keys that are there; those with a mistake are left out."""
        found: dict[str, Any] = {}
        for name, reader in readers.items():
            value = reader(keys[name], f"{path}.{name}" if path else name) if name in keys else None
            if value is not None:
                found[name] = value
        return found

    def value(self, node: yaml.Node, path: str) -> Any:
        """Any JSON value."""
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, where) for item, where in self.items(node, path, self.bounds.items)]
        found: dict[str, Any] = {}
        for name, item in self.free_mapping(node, path, MAX_KEYS).items():
            found[name] = self.value(item, f"{path}.{name}")
        return found

    def usable_key(self, name: str) -> bool:
        """Whether the author may choose this key."""
        return bool(name) and len(name) <= _MAX_KEY and name.isprintable()

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
            if not isinstance(name, str) or not self.usable_key(name):
                self.fault(key, path, "this cannot be a key", "Use plain words.")
            elif name in found:
                where = f"{path}.{name}"
                self.fault(key, where, "this key is given twice", "Keep one of them.", "duplicate_key")
            else:
                found[name] = value
        return found

    def scalar(self, node: yaml.ScalarNode, path: str) -> Any:
        """A text, number, true, false or null; what YAML reads as something else is a mistake."""
        if node.tag == _TAG + "str":
            return self.words(node, path)
        text = str(node.value)
        if text in _WORDS and node.tag in (_TAG + "bool", _TAG + "null"):
            return _WORDS[text]
        if _FLOAT.match(text):
            return float(text) if "." in text else int(text)
        self.fault(node, path, f"{text[:80]!r} is read as something else", "Put it into quotes.")
        return None

    def words(self, node: yaml.ScalarNode, path: str) -> str | None:
        """A text among the values; it may be empty."""
        if len(node.value) > self.max_text or "\x00" in node.value:
            return self.long(node, path)
        return str(node.value)


def refused(name: str, issues: list[Issue]) -> Problem:
    """The problem that says what is wrong with a file: `errors` tells each mistake with its line."""
    first = issues[0]
    more = f" ({len(issues) - 1} more)" if len(issues) > 1 else ""
    where = f"{first.path}: " if first.path else ""
    return Problem(
        "validation_failed", f"{name}:{first.line}:{first.column}: {where}{first.message}{more}",
        hint=first.hint or "Correct the file.", errors=[error_of(issue) for issue in issues[:_SHOWN]],
    )  # fmt: skip


def error_of(issue: Issue) -> dict[str, Any]:
    """One mistake as callers see it."""
    return {
        "line": issue.line, "column": issue.column, "where": issue.path, "message": issue.message,
        "hint": issue.hint, "code": issue.code,
    }  # fmt: skip
