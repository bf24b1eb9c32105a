"""Parameters: what was given, checked against what the file declares."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

import re2  # pyright: ignore[reportMissingTypeStubs]

from builderos.core.problems import Problem
from builderos.core.yamlnodes import nearest

from .schema import Definition, Parameter, Value
from .templates import as_text

_re2: Final = cast("Any", re2)
MAX_TEXT: Final = 64 * 1024  # in UTF-8: a variable of a process has at most twice as much
MAX_LIST: Final = 256
_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "list": (list,),
}  # fmt: skip


def bind(definition: Definition, given: Mapping[str, Value]) -> dict[str, Value]:
    """Every parameter with its value, defaults filled in. Raises `validation_failed` with `errors`."""
    faults = list(faults_of(definition, given))
    if faults:
        where, message, hint = faults[0]
        raise Problem(
            "validation_failed", f"{definition.ref}: {where}: {message}", hint=hint,
            errors=[{"where": w, "message": m, "hint": h, "code": "param"} for w, m, h in faults[:100]],
        )  # fmt: skip
    return {p.name: given.get(p.name, p.default) for p in definition.params}


def faults_of(definition: Definition, given: Mapping[str, Value]) -> Iterator[tuple[str, str, str]]:
    """Where, what and what instead, for everything that is wrong with what was given."""
    known = {parameter.name: parameter for parameter in definition.params}
    for name in given:
        if name not in known:
            hint = f"{nearest(str(name), known)}Known: {', '.join(known) or 'none'}."
            yield f"params.{str(name)[:80]}", "no such parameter", hint
    for name, parameter in known.items():
        if name in given:
            why = fault_of(parameter, given[name])
            if why is not None:
                yield f"params.{name}", *why
        elif parameter.required:
            yield f"params.{name}", "this parameter is required", f"Give params.{name}."


def fault_of(parameter: Parameter, value: Value) -> tuple[str, str] | None:
    """What is wrong with a value, and what to give instead; None: nothing."""
    kinds = _KINDS[parameter.type]
    fits: bool = isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds)
    if not fits:
        return f"expected {parameter.type}, got {_kind(value)}", f"Give a value of type {parameter.type}."
    if parameter.choices and value not in parameter.choices:
        known = ", ".join(str(choice) for choice in parameter.choices[:20])
        return (
            "not one of the choices",
            f"{nearest(as_text(value), [str(c) for c in parameter.choices])}Choose: {known}.",
        )
    if isinstance(value, str):
        return _text_fault(parameter, value)
    if isinstance(value, list):
        return _list_fault(parameter, cast("list[Any]", value))
    if isinstance(value, float) and not math.isfinite(value):
        return "not a finite number", "Give a finite number."
    return _size_fault(parameter, value, "")


def _text_fault(parameter: Parameter, value: str) -> tuple[str, str] | None:
    if len(value.encode("utf-8", "replace")) > MAX_TEXT or "\x00" in value:
        return f"longer than {MAX_TEXT} bytes, or with a NUL in it", "Put it into a file of the branch."
    if parameter.pattern is not None and _re2.compile(parameter.pattern, _quiet()).fullmatch(value) is None:
        return "does not fit the pattern", f"It must fit {parameter.pattern}."
    return _size_fault(parameter, len(value), " characters")


def _list_fault(parameter: Parameter, value: list[Any]) -> tuple[str, str] | None:
    if len(value) > MAX_LIST:
        return f"more than {MAX_LIST} items", "Give fewer."
    plain = all(isinstance(item, str | int | float | bool) for item in value)
    if not plain or any(isinstance(item, str) and len(item) > 1_000 for item in value):
        return "items must be short texts, numbers or booleans", "Give plain values."
    return _size_fault(parameter, len(value), " items")


def _size_fault(parameter: Parameter, size: float, unit: str) -> tuple[str, str] | None:
    if parameter.least is not None and size < parameter.least:
        return f"less than {parameter.least:g}{unit}", f"Give at least {parameter.least:g}{unit}."
    if parameter.most is not None and size > parameter.most:
        return f"more than {parameter.most:g}{unit}", f"Give at most {parameter.most:g}{unit}."
    return None


def pattern_fault(pattern: str) -> str | None:
    """Why an expression cannot be used; None: it can. No text can make it slow."""
    try:
        _re2.compile(pattern, _quiet())
    except _re2.error as error:
        return str(error)[:120]
    return None


def _quiet() -> Any:
    options = _re2.Options()
    options.log_errors = False
    return options


def _kind(value: Value) -> str:
    if value is None:
        return "null"
    names = {"bool": "boolean", "str": "string", "int": "integer", "float": "number", "dict": "object"}
    word = cast("type[object]", type(value)).__name__
    return names.get(word, word)
