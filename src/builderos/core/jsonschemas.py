"""JSON Schemas that people write into files, and answers held against them (JSON Schema 2020-12).

Both may be hostile. Nothing is fetched, patterns are matched in linear time, and work is counted: a schema that asks
for too much of it is a fault like any other. What cannot be promised that is refused when the schema is read.
"""

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, Final, cast

import re2  # pyright: ignore[reportMissingTypeStubs]

_re2: Final = cast("Any", re2)
_MOST_STEPS: Final = 50_000  # keywords applied to values; some tens of milliseconds
_MOST_DEPTH: Final = 100
_left: ContextVar[list[int]] = ContextVar("left")


class _TooMuch(Exception):
    """The schema asks for too much work."""


def schema_fault(schema: Any) -> str:
    """Why this is no JSON Schema that can be used here; empty where it is one."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    if not isinstance(schema, dict):
        return "expected a JSON Schema"
    try:
        Draft202012Validator.check_schema(cast("dict[str, Any]", schema))
    except SchemaError as error:
        return f"{'.'.join(map(str, error.absolute_path)) or 'schema'}: {error.message[:200]}"
    except RecursionError:
        return "it is nested too deeply"
    text = json.dumps(schema)
    if (
        '"patternProperties"' in text and '"unevaluatedProperties"' in text
    ):  # matched elsewhere, in other ways
        return "patternProperties cannot be used together with unevaluatedProperties"
    return _unusable(
        {name: value for name, value in cast("dict[str, Any]", schema).items() if name != "$schema"}
    )


def first_fault(schema: Mapping[str, Any], value: Any) -> tuple[str, str] | None:
    """Where a value does not fit (`a.b.0`, empty for all of it) and why; None where it fits.

    The schema is one that `schema_fault` finds nothing in.
    """
    validator = _validator(json.dumps(dict(schema), sort_keys=True))
    mark = _left.set([_MOST_STEPS])
    try:
        error = next(validator.iter_errors(value), None)
    except _TooMuch:
        return "", "its schema asks for too much work"
    except RecursionError:
        return "", "its schema leads back to itself without end"
    finally:
        _left.reset(mark)
    if error is None:
        return None
    return ".".join(str(part) for part in error.absolute_path)[:200], error.message[:300]


def _unusable(value: Any, depth: int = 0) -> str:
    """What in a schema could lead out of it, or take for ever."""
    if depth > _MOST_DEPTH:
        return "it is nested too deeply"
    if isinstance(value, list):
        found = (_unusable(item, depth + 1) for item in cast("list[Any]", value))
        return next((why for why in found if why), "")
    if not isinstance(value, dict):
        return ""
    items = cast("dict[str, Any]", value)
    ref = items.get("$ref")
    if isinstance(ref, str) and not ref.startswith("#"):
        return f"$ref leads out of the file: {ref[:100]}"
    for name in ("$schema", "$id", "$dynamicRef"):
        if name in items and not isinstance(items[name], dict | list):
            return f"{name} cannot be used here"
    patterns = [items["pattern"]] if isinstance(items.get("pattern"), str) else []
    if isinstance(items.get("patternProperties"), dict):
        patterns += list(items["patternProperties"])
    for pattern in patterns:
        if not _matches(pattern, "", probe=True):
            return f"a pattern that cannot be matched in linear time: {pattern[:100]!r}"
    return next((why for item in items.values() if (why := _unusable(item, depth + 1))), "")


@functools.lru_cache(64)
def _validator(schema: str) -> Any:
    document = json.loads(schema)
    document.pop("$schema", None)  # whatever it says, it is read as 2020-12
    return _kind()(document)


@functools.cache
def _kind() -> Any:
    """The validator of the standard with our patterns, and with its work counted."""
    from jsonschema import Draft202012Validator, validators

    ours = {
        "pattern": _pattern, "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties, "uniqueItems": _unique_items,
    }  # fmt: skip
    usual: dict[str, Any] = {**cast("Any", Draft202012Validator).VALIDATORS, **ours}
    extend: Any = cast("Any", validators).extend
    return extend(cast("Any", Draft202012Validator), {name: _counted(call) for name, call in usual.items()})


def _counted(keyword: Callable[..., Any]) -> Callable[..., Iterator[Any]]:
    def call(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[Any]:
        left = _left.get()
        left[0] -= 1
        if left[0] < 0:
            raise _TooMuch
        yield from keyword(validator, wanted, value, schema) or ()

    return call


@functools.lru_cache(256)
def _compiled(pattern: str) -> Any:
    options = _re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    return _re2.compile(pattern, options)


def _matches(pattern: str, text: str, *, probe: bool = False) -> bool:
    try:
        found = _compiled(pattern)
    except _re2.error:
        return False
    return True if probe else found.search(text) is not None


def _fault(message: str) -> Any:
    from jsonschema.exceptions import ValidationError

    return ValidationError(message)


def _pattern(validator: Any, pattern: str, value: Any, _schema: Any) -> Iterator[Any]:
    if validator.is_type(value, "string") and not _matches(pattern, value):
        yield _fault(f"{value[:100]!r} does not match {pattern[:100]!r}")


def _pattern_properties(validator: Any, wanted: Mapping[str, Any], value: Any, _schema: Any) -> Iterator[Any]:
    if not validator.is_type(value, "object"):
        return
    for pattern, schema in wanted.items():
        for name in (name for name in value if _matches(pattern, name)):
            yield from validator.descend(value[name], schema, path=name, schema_path=pattern)


def _additional_properties(
    validator: Any, wanted: Any, value: Any, schema: Mapping[str, Any]
) -> Iterator[Any]:
    if not validator.is_type(value, "object"):
        return
    named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    more = [
        name
        for name in value
        if name not in named and not any(_matches(pattern, name) for pattern in patterns)
    ]
    if wanted is False and more:
        yield _fault(f"there are members that are not known: {', '.join(map(repr, more))[:200]}")
    elif isinstance(wanted, Mapping):
        for name in more:
            yield from validator.descend(value[name], wanted, path=name)


def _unique_items(validator: Any, wanted: Any, value: Any, _schema: Any) -> Iterator[Any]:
    if not wanted or not validator.is_type(value, "array"):
        return
    if len({json.dumps(_canonical(item), sort_keys=True) for item in value}) < len(value):
        yield _fault("an item stands in it twice")


def _canonical(value: Any) -> Any:
    """With 1.0 written as 1: to JSON Schema they are the same."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_canonical(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {name: _canonical(item) for name, item in cast("dict[str, Any]", value).items()}
    return value
