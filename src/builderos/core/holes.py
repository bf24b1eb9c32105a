"""Texts with holes: `{{ goal }}` an input, `{{> style }}` another text, `\\{{` two braces as they are.

Nothing else: no code, no conditions, no functions.
"""

import functools
import json
import re
from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple

_HOLE: Final = re.compile(r"\\\{\{|\{\{(?P<inside>.*?)(?P<end>\}\}|\Z)", re.DOTALL)
_INSIDE: Final = re.compile(r"\s*(?P<partial>>)?\s*(?P<word>[A-Za-z_][A-Za-z0-9_-]{0,62})\s*\Z")


class Unreadable(Exception):
    """A hole that says something else: `offset` in the text, what is wrong, what to write."""

    def __init__(self, offset: int, message: str, hint: str) -> None:
        super().__init__(message)
        self.offset, self.message, self.hint = offset, message, hint


class Part(NamedTuple):
    """A piece of a template: its text, or the word of an input or a partial; `offset`: where it begins."""

    kind: Literal["text", "input", "partial"]
    text: str
    offset: int


@functools.lru_cache(512)
def parts_of(template: str) -> tuple[Part, ...]:
    """The pieces of a template, in order. Raises `Unreadable`."""
    return tuple(_pieces(template))


def _pieces(template: str) -> Iterator[Part]:
    end = 0
    for hole in _HOLE.finditer(template):
        if hole.start() > end:
            yield Part("text", template[end : hole.start()], end)
        end = hole.end()
        if hole["inside"] is None:
            yield Part("text", "{{", hole.start())
            continue
        if not hole["end"]:
            raise Unreadable(
                hole.start(), "{{ is not closed", "Close it with }}, or write \\{{ for two braces."
            )
        found = _INSIDE.match(hole["inside"])
        if found is None:
            said = f"{hole['inside'].strip()[:60]!r} is no name of an input"
            hint = (
                "Write {{ name }} or {{> partial }}; there is no code in prompts. \\{{ stands for two braces."
            )
            raise Unreadable(hole.start(), said, hint)
        yield Part("partial" if found["partial"] else "input", found["word"], hole.start())
    if end < len(template):
        yield Part("text", template[end:], end)


def as_text(value: Any) -> str:
    """How a value stands in the text: a text as it is, null as nothing, everything else as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(", ", ": "))
