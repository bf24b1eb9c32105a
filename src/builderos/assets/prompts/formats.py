"""JSON Schema of `prompts/<name>.yaml`, for editors. The server reads with `reading.py`, which knows lines."""

from typing import Any, Final

from builderos.core.versions import SEMVER
from builderos.core.yamlwords import ID

from .reading import EFFORTS, INPUT, MAX_INPUTS, MAX_PARTIALS, PARTIAL, TAG
from .spec import INPUT_TYPES

_Schema = dict[str, Any]


def _object(properties: _Schema, *required: str) -> _Schema:
    return {
        "type": "object", "properties": properties, "required": list(required), "additionalProperties": False,
    }  # fmt: skip


def _pattern(pattern: str) -> _Schema:
    return {"type": "string", "pattern": "^" + pattern.replace(r"\Z", "$")}


def _number(least: float, most: float, kind: str = "number") -> _Schema:
    return {"type": kind, "minimum": least, "maximum": most}


_TEXT: Final[_Schema] = {"type": "string", "minLength": 1, "maxLength": 128 * 1024}
_LINE: Final[_Schema] = {"type": "string", "minLength": 1, "maxLength": 500}
_TAG: Final = _pattern(TAG.pattern)
_INPUT: Final[_Schema] = {
    "anyOf": [
        {"enum": list(INPUT_TYPES)},
        _object(
            {"type": {"enum": list(INPUT_TYPES)}, "required": {"type": "boolean"}, "default": True,
             "choices": {"type": "array", "maxItems": 100}, "description": _LINE},
        ),
    ]
}  # fmt: skip
_PARTIAL: Final = _pattern(PARTIAL.pattern)
_MODEL: Final = _object(
    {
        "provider": _LINE, "model": _LINE, "temperature": _number(0, 2), "top_p": _number(0, 1),
        "max_tokens": _number(1, 10_000_000, "integer"), "seed": _number(0, 2**31 - 1, "integer"),
        "stop": {"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "maxItems": 16}]},
        "frequency_penalty": _number(-2, 2), "presence_penalty": _number(-2, 2),
        "reasoning_effort": {"enum": list(EFFORTS)},
    }
)  # fmt: skip
SCHEMA: Final[_Schema] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "prompt",
    **_object(
        {
            "name": _pattern(ID.pattern), "version": _pattern(SEMVER.pattern) | {"description": "Semantic version."},
            "changelog": _TEXT | {"description": "What changed, and why."}, "description": _TEXT,
            "tags": {"anyOf": [_TAG, {"type": "array", "items": _TAG, "maxItems": 50, "uniqueItems": True}]},
            "inputs": {
                "type": "object", "maxProperties": MAX_INPUTS, "additionalProperties": _INPUT,
                "propertyNames": _pattern(INPUT.pattern),
            },
            "output": _object({"schema": {"type": "object"}}, "schema"),
            "partials": {
                "anyOf": [
                    {"type": "array", "items": _PARTIAL, "maxItems": MAX_PARTIALS},
                    {"type": "object", "additionalProperties": _PARTIAL, "maxProperties": MAX_PARTIALS},
                ]
            },
            "template": _TEXT | {"description": "{{ input }}, {{> partial }}, \\{{ for two braces."}, "model": _MODEL,
        },
        "name", "version", "changelog", "template",
    ),
}  # fmt: skip
