"""Texts with `${{ expression }}` in them.

What params, the matrix and the run decide is filled when a run is started; what only results decide stays as
`{"${{": [text or expression, …]}` until `fill` is called right before the step starts. A text that is one single
expression keeps the kind of its value (a number, a list).
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, cast

from .expressions import Result, Unreadable, evaluate, is_settled, read
from .schema import Expression, Value

OPEN: Final = "${{"
MAX_PARTS: Final = 50
_HOLE: Final = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)


def parts_of(text: str) -> list[str | Expression]:
    """Pieces of text and expressions, in order. Raises `Unreadable` with the column inside the text."""
    found: list[str | Expression] = []
    end = 0
    for hole in _HOLE.finditer(text):
        found.append(text[end : hole.start()])
        end = hole.end()
        try:
            found.append(read(hole[1]))
        except Unreadable as error:
            raise Unreadable(error.message, error.hint, hole.start(1) + error.column) from None
        if len(found) > 2 * MAX_PARTS:
            raise Unreadable(f"more than {MAX_PARTS} expressions", "Cut the text into several.", end)
    found.append(text[end:])
    if any(isinstance(part, str) and OPEN in part for part in found):
        raise Unreadable("${{ is not closed", "Close it with }}.", text.rindex(OPEN))
    return [part for part in found if part != ""]


def settle(value: Value, by: Callable[[Expression], Expression]) -> Value:
    """Fill all texts inside a value: `by` replaces the names of every expression. What stays open is kept as parts."""
    if isinstance(value, str):
        return (
            _settled([by(p) if isinstance(p, list) else p for p in parts_of(value)])
            if OPEN in value
            else value
        )
    if isinstance(value, Mapping):
        items = cast("Mapping[str, Any]", value)
        if list(items) == [OPEN]:
            parts: list[str | Expression] = items[OPEN]
            return _settled([by(p) if isinstance(p, list) else p for p in parts])
        return {key: settle(item, by) for key, item in items.items()}
    if isinstance(value, list | tuple):
        return [settle(item, by) for item in cast("list[Any]", value)]
    return value


def _settled(parts: list[str | Expression]) -> Value:
    done = [evaluate(part, {}) if isinstance(part, list) and is_settled(part) else part for part in parts]
    still = any(isinstance(before, list) and not is_settled(before) for before in parts)
    if not still:
        return done[0] if len(done) == 1 else "".join(as_text(item) for item in done)
    # What was evaluated is a value again, so that text and open expressions cannot be mixed up.
    kept = [
        ["value", item] if isinstance(before, list) and is_settled(before) else item
        for before, item in zip(parts, done, strict=True)
    ]
    return {OPEN: kept}


def filled(value: Value, results: Mapping[str, Result]) -> Value:
    """The value with everything that was left open evaluated now."""
    if isinstance(value, Mapping):
        items = cast("Mapping[str, Any]", value)
        if list(items) == [OPEN]:
            parts: list[str | Expression] = items[OPEN]
            found = [evaluate(p, results) if isinstance(p, list) else p for p in parts]
            return found[0] if len(found) == 1 else "".join(as_text(item) for item in found)
        return {key: filled(item, results) for key, item in items.items()}
    return [filled(item, results) for item in cast("list[Any]", value)] if isinstance(value, list) else value


def expressions_in(value: Value) -> Iterator[Expression]:
    """All expressions of the texts inside a value. Raises `Unreadable`."""
    if isinstance(value, str) and OPEN in value:
        yield from (part for part in parts_of(value) if isinstance(part, list))
    elif isinstance(value, Mapping):
        for item in cast("Mapping[str, Any]", value).values():
            yield from expressions_in(item)
    elif isinstance(value, list | tuple):
        for item in cast("list[Any]", value):
            yield from expressions_in(item)


def as_text(value: Value) -> str:
    """How a value stands in a text: JSON, but a text is itself and null is nothing."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
