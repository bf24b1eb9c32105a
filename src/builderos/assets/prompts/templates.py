"""Filling prompts in. A value that is filled in is never read again, so braces in it stay what they are."""

from collections.abc import Mapping
from typing import Any, Final

from builderos.core.holes import as_text, parts_of
from builderos.core.problems import Problem
from builderos.core.yamlnodes import nearest

from .spec import Input, PromptVersion

MAX_RENDERED: Final = 1024 * 1024
_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "list": (list,), "object": (dict,),
}  # fmt: skip


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
