"""What differs between two versions of a prompt, and which number has to be raised for it."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from builderos.core.problems import Problem
from builderos.core.versions import LEVELS, Level, level_between, raised

from .spec import Input, Spec

_MISSING: Final = object()


@dataclass(frozen=True, slots=True)
class Change:
    """One difference: the field, what it was and is, and the least number that has to be raised for it."""

    field: str
    level: Level
    why: str
    before: Any
    after: Any


def changes(old: Spec, new: Spec) -> list[Change]:
    """Every difference, field by field.

    What callers rely on is major: an input that is gone, newly required or of another type, a choice that is gone, an
    answer that no longer has what it had to have. What they may use is minor. Words alone are a patch.
    """
    return [
        *_inputs(old.inputs, new.inputs),
        *_output(old.output_schema, new.output_schema),
        *_plain(old, new),
    ]


def least(found: list[Change]) -> Level:
    """The least number that has to be raised for all of them."""
    return LEVELS[max((LEVELS.index(change.level) for change in found), default=0)]


def suggested(old: Spec, new: Spec) -> tuple[Level, str]:
    """The number to raise, and the version that comes out."""
    level = least(changes(old, new))
    return level, raised(old.version, level)


def require_bump(old: Spec, new: Spec) -> None:
    """Refuse a version that promises more compatibility than there is. Raises `validation_failed`."""
    found = changes(old, new)
    needed, given = least(found), level_between(old.version, new.version)
    if given is not None and LEVELS.index(given) >= LEVELS.index(needed):
        return
    version = raised(old.version, needed)
    reasons = [f"{change.field}: {change.why}" for change in found if change.level == needed]
    raise Problem(
        "validation_failed", f"{new.ref} is a {given} version after {old.version}, but {reasons[0]}: that is {needed}",
        hint=f"Publish it as {version}.", suggested_version=version, level=needed, reasons=reasons, since=old.version,
    )  # fmt: skip


def unified(old: str, new: str, names: tuple[str, str]) -> str:
    """Two texts compared line by line."""
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), *names, lineterm="", n=3)
    return "\n".join(lines)


def _inputs(old: Mapping[str, Input], new: Mapping[str, Input]) -> Iterator[Change]:
    for name in [*old, *(name for name in new if name not in old)]:
        before, after = old.get(name), new.get(name)
        if before == after:
            continue
        level, why = _input(before, after)
        yield Change(
            f"inputs.{name}",
            level,
            why,
            before.as_json() if before else None,
            after.as_json() if after else None,
        )


def _input(before: Input | None, after: Input | None) -> tuple[Level, str]:
    if after is None:
        return "major", "the input was removed"
    if before is None:
        return (
            ("major", "a new input is required") if after.required else ("minor", "a new input may be given")
        )
    if before.type != after.type and (before.type, after.type) != ("integer", "number"):
        return "major", f"it was a {before.type} and is a {after.type}"
    if after.required and not before.required:
        return "major", "the input became required"
    if after.choices and (
        not before.choices or any(choice not in after.choices for choice in before.choices)
    ):
        return "major", "it takes fewer values"
    if (before.type, before.required, before.default, before.choices) == (
        after.type, after.required, after.default, after.choices,
    ):  # fmt: skip
        return "patch", "its description changed"
    return "minor", "it takes more, or has another default"


def _output(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> Iterator[Change]:
    if old == new:
        return
    level, why = _answer(old, new)
    yield Change("output.schema", level, why, old, new)


def _answer(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> tuple[Level, str]:
    if old is None:
        return "minor", "the answer has a form now"
    if new is None:
        return "major", "the answer has no form any more"
    lost = sorted(_promised(old) - _promised(new))
    if lost:
        return "major", f"the answer need not have {lost[0]} any more"
    if _kinds(old).items() - _kinds(new).items():
        return "major", "a part of the answer changed its type or is gone"
    return "minor", "the answer has another form"


def _promised(schema: Mapping[str, Any], path: str = "") -> set[str]:
    """Places that an answer has to have."""
    found = {
        f"{path}{name}" for name in cast("list[Any]", schema.get("required") or []) if isinstance(name, str)
    }
    for name, inner in _inner(schema):
        found |= _promised(inner, f"{path}{name}.")
    return found


def _kinds(schema: Mapping[str, Any], path: str = "") -> dict[str, str]:
    """Place → the type it has."""
    found = {path: str(schema["type"])} if "type" in schema else {}
    for name, inner in _inner(schema):
        found |= _kinds(inner, f"{path}{name}.")
    return found


def _inner(schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    properties: Any = schema.get("properties")
    if isinstance(properties, dict):
        for name, inner in cast("dict[str, Any]", properties).items():
            if isinstance(inner, dict):
                yield name, cast("dict[str, Any]", inner)
    items: Any = schema.get("items")
    if isinstance(items, dict):
        yield "[]", cast("dict[str, Any]", items)


def _plain(old: Spec, new: Spec) -> Iterator[Change]:
    if old.template != new.template:
        yield Change("template", "patch", "the text changed", old.template, new.template)
    for word in sorted({*old.partials, *new.partials}):
        before, after = old.partials.get(word), new.partials.get(word)
        if before != after:
            yield Change(f"partials.{word}", "patch", "another text stands there", before, after)
    for key in sorted({*old.model, *new.model}):
        before, after = old.model.get(key, _MISSING), new.model.get(key, _MISSING)
        if before != after:
            said = (None if before is _MISSING else before, None if after is _MISSING else after)
            yield Change(f"model.{key}", "minor", "the model is asked in another way", *said)
    for name in ("description", "changelog"):
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            yield Change(name, "patch", "its words changed", before, after)
    if sorted(old.tags) != sorted(new.tags):
        yield Change("tags", "patch", "its tags changed", sorted(old.tags), sorted(new.tags))
