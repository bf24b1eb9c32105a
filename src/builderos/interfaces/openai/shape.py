"""OpenAI's shapes for what goes wrong and for lists of models."""

from typing import Any, Final

import orjson

from builderos.core.problems import Problem

_TYPES: Final = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
    413: "invalid_request_error", 429: "rate_limit_error",
}  # fmt: skip
_STATUS: Final = {"validation_failed": 400, "budget_exceeded": 429}
_CODES: Final = {"token_invalid": "invalid_api_key", "token_expired": "invalid_api_key",
                 "unauthenticated": "invalid_api_key", "budget_exceeded": "insufficient_quota"}  # fmt: skip
_FAULT: Final = 500


def as_error(problem: Problem, request_id: str) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
    """Status, body and headers. `code` is OpenAI's word where it has one; ours stands in `builderos_code`."""
    told = problem.as_dict(request_id)
    status = _STATUS.get(problem.code, problem.status)
    code = told.get("reason") or _CODES.get(problem.code, problem.code)
    if problem.code == "not_found" and "allowed" in told:
        code = "model_not_found"
    kind = _TYPES.get(status, "api_error" if status >= _FAULT else "invalid_request_error")
    error = {
        "message": f"{told['detail']}. {told['hint']}".strip(), "code": code, "param": told.get("param"),
        "type": code if code == "insufficient_quota" else kind,
        "builderos_code": problem.code, "request_id": request_id,
    }  # fmt: skip
    headers: list[tuple[bytes, bytes]] = []
    if problem.retry_after_s is not None:
        headers.append((b"retry-after", str(max(1, round(problem.retry_after_s))).encode()))
    if not problem.retryable:
        headers.append((b"x-should-retry", b"false"))  # else clients repeat a 409 and every 5xx
    return status, orjson.dumps({"error": error}), headers


def models_of(names: list[str], wanted: str | None) -> dict[str, Any]:
    """The list, or the one that is wanted, also of a provider that passes on any name. Raises `not_found`."""
    if wanted is None:
        return {"object": "list", "data": [_model(name) for name in names]}
    if wanted not in names and f"{wanted.partition('/')[0]}/*" not in names:
        raise Problem(
            "not_found", f"there is no model {wanted[:200]} here", hint="List the models.", allowed=names[:50]
        )
    return _model(wanted)


def _model(name: str) -> dict[str, Any]:
    owner, _, rest = name.partition("/")
    return {"id": name, "object": "model", "created": 0, "owned_by": owner if rest else "builderos"}
