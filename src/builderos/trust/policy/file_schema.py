"""JSON Schema of `builderos.policy.yaml`, for editors. The server reads with `document.py`, which knows lines."""

from typing import Any, Final

from .document import APPROVERS, KINDS, MAX_PATTERNS, MAX_RULES

_Schema = dict[str, Any]


def _object(properties: _Schema, *required: str, least: int = 0) -> _Schema:
    return {
        "type": "object", "properties": properties, "required": list(required), "additionalProperties": False,
        "minProperties": least,
    }  # fmt: skip


def _list(items: _Schema, most: int, least: int = 0) -> _Schema:
    return {"type": "array", "items": items, "maxItems": most, "minItems": least}


def _number(least: int, most: int) -> _Schema:
    return {"type": "integer", "minimum": least, "maximum": most}


_NAME: Final[_Schema] = {
    "type": "string", "pattern": r"^[A-Za-z0-9._/@:*+-]{1,128}$", "description": "A name; * is any text.",
}  # fmt: skip
_PATH: Final[_Schema] = {
    "type": "string", "minLength": 1, "maxLength": 256, "pattern": r"^[^/!\[\]{}\\][^\[\]{}\\]*$",
    "description": "A path from the top of the repository; * and ? stay within a folder, ** spans folders.",
}  # fmt: skip
_ID: Final[_Schema] = {"type": "string", "pattern": "^[a-z0-9][a-z0-9_.-]{0,62}$"}
_PATTERNS: Final = _object(
    {kind: _list(_PATH if kind == "paths" else _NAME, MAX_PATTERNS) for kind in KINDS}, least=1
)
_SCOPE: Final = _object(
    dict.fromkeys(("agent", "environment", "branch", "project"), _NAME) | {"org": {"const": "*"}}
)
_RULE: Final = _object({"id": _ID, "scope": _SCOPE, "allow": _PATTERNS, "deny": _PATTERNS}, "id") | {
    "anyOf": [{"required": ["allow"]}, {"required": ["deny"]}]
}
_ACTION: Final[_Schema] = {"type": "string", "pattern": r"^[a-z_]{1,40}\.[a-z_]{1,40}$"}
_APPROVAL: Final = _object(
    {
        "id": _ID,
        "when": _object({"action": _list(_ACTION, 50)}, "action"),
        "from": _list({"enum": list(APPROVERS)}, len(APPROVERS), 1),
        "count": _number(1, 10),
        "expires": {"type": "string", "pattern": "^[1-9][0-9]{0,3}[mhd]$"},
    },
    "id",
    "when",
)
_RATE: Final[_Schema] = {"type": "string", "pattern": "^[1-9][0-9]{0,6}/min$"}
_COUNT: Final = _number(1, 1_000_000)

SCHEMA: Final[_Schema] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "urn:builderos:schema:policy:1",
    "title": "builderos.policy.yaml",
    "description": "Rules of an organisation: what agents may do where, who approves what, and limits.",
} | _object(
    {
        "version": {"const": 1},
        "rules": _list(_RULE, MAX_RULES),
        "approvals": _list(_APPROVAL, MAX_RULES),
        "limits": _object(
            {
                "sandbox": _object({"files": _COUNT, "commits": _COUNT, "days": _COUNT}),
                "rate": _object({"per_token": _RATE, "per_org": _RATE}),
                "budget": _object({"cpu_seconds": _number(1, 100_000_000)}),
            }
        ),
        "prbot": _object({"enabled": {"type": "boolean"}, "max_lines": _number(0, 100)}),
        "push_protection": _object(
            {"ignore_paths": _list(_PATH, MAX_PATTERNS), "ignore_values": _list(_NAME, MAX_PATTERNS)}
        ),
    },
    "version",
)
