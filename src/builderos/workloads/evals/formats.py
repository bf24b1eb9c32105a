"""JSON Schema of suites in our words, `evals/<suite>.yaml`, for editors. The server reads with `reading.py`."""

from typing import Any, Final

from builderos.core.yamlwords import ID

from .checks import TYPES
from .suite import MAX_CASES, MAX_REPEATS
from .words import ALIASES, BUILT_IN, CASE_ID, MODEL

_Schema = dict[str, Any]


def _object(properties: _Schema, *required: str) -> _Schema:
    return {
        "type": "object", "properties": properties, "required": list(required), "additionalProperties": False,
    }  # fmt: skip


def _pattern(pattern: str) -> _Schema:
    return {"type": "string", "pattern": "^" + pattern.replace(r"\Z", "$")}


_TEXT: Final[_Schema] = {"type": "string", "minLength": 1}
_SHARE: Final[_Schema] = {"type": "number", "minimum": 0, "maximum": 1}
_MODEL: Final = _pattern(MODEL.pattern)
_NAMES: Final = [*TYPES, *ALIASES, *BUILT_IN]
_EXPECT: Final = _object(
    {
        "type": {"enum": [*_NAMES, *(f"not-{name}" for name in _NAMES)]}, "value": True,
        "threshold": {"type": "number", "minimum": 0}, "weight": {"type": "number", "minimum": 0}, "metric": _TEXT,
        "schema": {"type": "object"}, "rubric": _TEXT, "path": _TEXT, "text": _TEXT, "run": _TEXT, "provider": _TEXT,
    },
    "type",
)  # fmt: skip
_CASE: Final = _object(
    {
        "id": _pattern(CASE_ID.pattern), "input": {"type": "object", "maxProperties": 100},
        "expect": {"type": "array", "items": _EXPECT, "maxItems": 200}, "golden": _TEXT, "threshold": _SHARE,
    },
    "id",
) | {"anyOf": [{"required": ["expect"]}, {"required": ["golden"]}]}  # fmt: skip
SCHEMA: Final[_Schema] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "suite",
    **_object(
        {
            "suite": _pattern(ID.pattern), "description": _TEXT,
            "prompt": _TEXT | {"description": "name, or name@ with a version, range or label."},
            "models": {"anyOf": [_MODEL, {"type": "array", "items": _MODEL, "maxItems": 20, "uniqueItems": True}]},
            "repeats": {"type": "integer", "minimum": 1, "maximum": MAX_REPEATS}, "threshold": _SHARE, "share": _SHARE,
            "judge": _MODEL,
            "replies": {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": MAX_CASES},
            "cases": {"type": "array", "items": _CASE, "minItems": 1, "maxItems": MAX_CASES},
        },
        "cases",
    ),
}  # fmt: skip
