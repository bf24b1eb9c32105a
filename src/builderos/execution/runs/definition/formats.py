"""JSON Schema of `ship/<name>/pipeline.yaml`, for editors. The server reads with `service.py`, which knows lines."""

from typing import Any, Final

from builderos.core.yamlwords import ID, MAX_TEXT

from .expressions import MAX_CHARS
from .reading import SPAN
from .schema import MAX_NODES
from .service import LANES, MAX_PARAMS, PARAM_TYPES
from .steps import (
    ACTION,
    APPROVERS,
    ENTRY,
    ENV,
    GLOB,
    HOST,
    KINDS,
    MAX_AXIS,
    NAME_AT,
    ON_FAIL,
    SECRET,
    TOOL,
    USES,
)
from .triggers import ENDS

_Schema = dict[str, Any]


def _object(properties: _Schema, *required: str) -> _Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _text(pattern: str | None = None, most: int = MAX_TEXT, about: str = "") -> _Schema:
    found: _Schema = {"type": "string", "minLength": 1, "maxLength": most}
    if pattern is not None:
        found["pattern"] = "^" + pattern.replace(r"\Z", "$")
    return found | ({"description": about} if about else {})


def _list(items: _Schema, most: int = 100) -> _Schema:
    return {"type": "array", "items": items, "maxItems": most, "uniqueItems": True}


def _one_or_list(items: _Schema, most: int = 100) -> _Schema:
    return {"anyOf": [items, _list(items, most)]}


def _number(least: float, most: float, kind: str = "integer") -> _Schema:
    return {"type": kind, "minimum": least, "maximum": most}


_ID: Final = _text(ID.pattern, 63)
_SPAN: Final = _text(SPAN.pattern, 40, "A span of time: 30s, 10m, 1h30m, 2d.")
_NAMED: Final = _text(NAME_AT.pattern, 161)
_TOOL: Final = _text(TOOL.pattern, 161)
_PLAIN: Final[_Schema] = {"type": ["string", "number", "boolean"]}
_ENV: Final[_Schema] = {
    "type": "object", "propertyNames": {"pattern": "^" + ENV.pattern.replace(r"\Z", "$")},
    "additionalProperties": {"type": "string", "maxLength": MAX_TEXT},
}  # fmt: skip
_RETRIES: Final[_Schema] = {
    "anyOf": [
        _number(0, 20),
        _object(
            {"max": _number(0, 20), "backoff": _SPAN, "factor": _number(1, 10, "number"),
             "jitter": _number(0, 1, "number"), "longest": _SPAN},
            "max",
        ),
    ]
}  # fmt: skip
_APPROVAL: Final[_Schema] = {
    "anyOf": [
        _text(),
        _object(
            {"message": _text(), "from": _one_or_list({"enum": list(APPROVERS)}, 3), "count": _number(1, 10),
             "expires": _SPAN},
            "message",
        ),
    ]
}  # fmt: skip
_QUESTION: Final[_Schema] = {
    "anyOf": [
        _text(),
        _object(
            {"message": _text(), "choices": _one_or_list(_text(most=200), 50), "expires": _SPAN}, "message"
        ),
    ]
}
_GATE: Final[_Schema] = {
    "oneOf": [
        {"const": "tests_pass"},
        _object({"eval": _NAMED}, "eval"),
        _object({"approval": _APPROVAL}, "approval"),
        _object({"question": _QUESTION}, "question"),
    ]
}
_COMBOS: Final = _list({"type": "object", "additionalProperties": _PLAIN}, MAX_AXIS)
_MATRIX: Final[_Schema] = {
    "type": "object", "minProperties": 1, "maxProperties": 10,
    "properties": {"exclude": _COMBOS, "include": _COMBOS},
    "additionalProperties": {
        "anyOf": [{"type": "string"}, {"type": "array", "items": _PLAIN, "minItems": 1, "maxItems": MAX_AXIS}]
    },
}  # fmt: skip
_DEFAULTED: Final[_Schema] = {
    "runtime": _text(most=1_000), "profile": _text(most=1_000), "timeout": _SPAN, "retries": _RETRIES,
    "on_fail": {"enum": list(ON_FAIL)}, "cache": {"type": "boolean"}, "deterministic": {"type": "boolean"},
    "network": _one_or_list(_text(HOST.pattern, 253)), "secrets": _one_or_list(_text(SECRET.pattern, 100)),
    "env": _ENV,
}  # fmt: skip
_STEP: Final[_Schema] = _object(
    {
        "id": _ID, "title": _text(most=500), "action": _text(ACTION.pattern, 164), "run": _text(),
        "python": _text(ENTRY.pattern, 1_000, "package.module:function"), "actor": _NAMED, "agent": _NAMED,
        "uses": _text(USES.pattern, 100, "Another pipeline: name@1.0.0."), "approval": _APPROVAL,
        "question": _QUESTION, "prompt": _NAMED, "tools": _one_or_list(_TOOL), "needs": _one_or_list(_ID, MAX_NODES),
        "lane": _ID, "gates": _one_or_list(_GATE, 10), "inputs": {"type": "object", "maxProperties": 200},
        "outputs": _one_or_list(_text(GLOB.pattern, 400)),
        "when": {"anyOf": [_text(most=MAX_CHARS), {"type": "boolean"}]}, "matrix": _MATRIX, **_DEFAULTED,
    },
    "id",
) | {"anyOf": [{"required": [kind]} for kind in (*KINDS, "action")]}  # fmt: skip
_PARAM: Final[_Schema] = {
    "anyOf": [
        {"enum": list(PARAM_TYPES)},
        _object(
            {"type": {"enum": list(PARAM_TYPES)}, "required": {"type": "boolean"}, "default": True,
             "choices": _one_or_list(_PLAIN), "pattern": _text(most=500), "min": {"type": "number"},
             "max": {"type": "number"}, "description": _text(most=500)},
        ),
    ]
}  # fmt: skip
_PATTERNS: Final = _one_or_list(_text(most=400), 50)
_PARAMS_OF_TRIGGER: Final[_Schema] = {"type": "object", "maxProperties": MAX_PARAMS}
_TRIGGER: Final[_Schema] = {
    "oneOf": [
        {"const": "manual"},
        _object(
            {"schedule": _text(most=100, about="Five fields of cron, in UTC."), "params": _PARAMS_OF_TRIGGER},
            "schedule",
        ),
        _object({"webhook": _text("[a-z][a-z0-9_.-]{0,62}$", 63), "params": _PARAMS_OF_TRIGGER}, "webhook"),
        _object(
            {
                "push": {
                    "anyOf": [_PATTERNS, _object({"branches": _PATTERNS, "paths": _PATTERNS}, "branches")]
                },
                "params": _PARAMS_OF_TRIGGER,
            },
            "push",
        ),
        _object(
            {
                "after": {
                    "anyOf": [
                        _ID,
                        _object(
                            {"pipeline": _ID, "statuses": _one_or_list({"enum": list(ENDS)}, 5)}, "pipeline"
                        ),
                    ]
                },
                "params": _PARAMS_OF_TRIGGER,
            },
            "after",
        ),
    ]
}
SCHEMA: Final[_Schema] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "pipeline",
    **_object(
        {
            "name": _ID, "version": _text(most=64, about="Semantic version; 1.0.0 when left out."),
            "description": _text(), "triggers": _one_or_list(_TRIGGER, 50),
            "params": {"type": "object", "maxProperties": MAX_PARAMS, "additionalProperties": _PARAM},
            "defaults": _object(_DEFAULTED), "timeout": _SPAN, "lanes": {"enum": list(LANES)},
            "concurrency": {
                "anyOf": [
                    _number(1, 1_000),
                    _object({"group": _NAMED, "max": _number(1, 1_000), "replace": {"type": "boolean"}}),
                ]
            },
            "budget": _object({"credits": _number(0, 1e9, "number")}, "credits"), "priority": _number(1, 9),
            "steps": {"type": "array", "items": _STEP, "minItems": 1, "maxItems": MAX_NODES},
        },
        "name",
        "steps",
    ),
}  # fmt: skip
