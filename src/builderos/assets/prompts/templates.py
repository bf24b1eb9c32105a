"""Texts with holes: `{{ goal }}` an input, `{{> style }}` another prompt, `\\{{` two braces as they are.

Nothing else: no code, no conditions, no functions. A value that is filled in is never read again, so braces in it stay
what they are.
"""

import functools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple

from builderos.core.problems import Problem
from builderos.core.yamlnodes import nearest

from .spec import Input, PromptVersion

MAX_RENDERED: Final = 1024 * 1024
_HOLE: Final = re.compile(r"\\\{\{|\{\{(?P<inside>.*?)(?P<end>\}\}|\Z)", re.DOTALL)
_INSIDE: Final = re.compile(r"\s*(?P<partial>>)?\s*(?P<word>[A-Za-z_][A-Za-z0-9_-]{0,62})\s*\Z")
_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "list": (list,), "object": (dict,),
}  # fmt: skip


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


def render(version: PromptVersion, inputs: Mapping[str, Any]) -> str:
    """The text with everything filled in.

    Raises `validation_failed` with `errors` for an input that is missing, unknown or of another type, and
    `payload_too_large`.
    """
    text = _rendered(version, filled(version.inputs, inputs, version.spec.ref))
    if len(text.encode("utf-8", "replace")) > MAX_RENDERED:
        raise Problem(
            "payload_too_large", f"the text would be larger than {MAX_RENDERED} bytes",
            hint="Give the prompt less to say.", limit=MAX_RENDERED,
        )  # fmt: skip
    return text


def _rendered(version: PromptVersion, values: Mapping[str, Any]) -> str:
    pieces: list[str] = []
    for part in parts_of(version.template):
        if part.kind == "text":
            pieces.append(part.text)
        elif part.kind == "input":
            pieces.append(as_text(values[part.text]))
        else:
            inner = version.partials[part.text]
            own = {name: values[name] for name in inner.inputs if name in values}
            pieces.append(_rendered(inner, filled(inner.inputs, own, inner.spec.ref)).removesuffix("\n"))
    return "".join(pieces)


def filled(wanted: Mapping[str, Input], given: Mapping[str, Any], what: str) -> dict[str, Any]:
    """The values by name, defaults among them. Raises `validation_failed` with every mistake."""
    errors: list[dict[str, str]] = []
    for name in given:
        if name not in wanted:
            hint = f"{nearest(name, wanted)}It takes {', '.join(wanted) or 'no inputs'}."
            errors.append({"where": name[:200], "message": "unknown input", "hint": hint})
    values: dict[str, Any] = {}
    for name, one in wanted.items():
        if name not in given:
            values[name] = one.default
            if one.required:
                errors.append({"where": name, "message": "is missing", "hint": f"Give a {one.type}."})
            continue
        values[name] = given[name]
        if why := fault_of(one, given[name]):
            errors.append({"where": name, "message": why, "hint": f"Give a {one.type}."})
    if errors:
        first = errors[0]
        raise Problem(
            "validation_failed",
            f"{what}: {first['where']}: {first['message']}",
            hint=first["hint"],
            errors=errors,
        )
    return values


def fault_of(one: Input, value: Any) -> str:
    """Why a value does not fit an input; empty where it does."""
    if not isinstance(value, _KINDS[one.type]) or (isinstance(value, bool) and one.type != "boolean"):
        return f"is no {one.type}"
    if one.choices and value not in one.choices:
        return f"is none of {', '.join(as_text(choice)[:60] for choice in one.choices)}"
    return ""


def as_text(value: Any) -> str:
    """How a value stands in the text: a text as it is, null as nothing, everything else as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(", ", ": "))
