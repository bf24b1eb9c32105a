"""Errors are part of the interface: RFC 9457 problem details with a stable code and a hint for the next action."""

from typing import Any, Final

from .cleaning import cleaned

STATUS: Final[dict[str, int]] = {
    "branch_required": 400,
    "invalid_path": 400,
    "token_invalid": 401,
    "token_expired": 401,
    "unauthenticated": 401,
    "credits_exhausted": 402,
    "forbidden_branch": 403,
    "protected_branch": 403,
    "tool_not_allowed": 403,
    "policy_denied": 403,
    "quota_exceeded": 403,
    "budget_exceeded": 403,
    "runtime_not_approved": 403,
    "approval_required": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "busy": 409,
    "conflict": 409,
    "idempotency_conflict": 409,
    "illegal_transition": 409,
    "version_exists": 409,
    "tool_version_removed": 410,
    "payload_too_large": 413,
    "unsupported_media_type": 415,
    "range_not_satisfiable": 416,
    "misdirected_request": 421,
    "validation_failed": 422,
    "rate_limited": 429,
    "hash_mismatch": 500,
    "internal": 500,
    "upstream_failed": 502,
    "write_not_verified": 502,
    "unavailable": 503,
    "storage_full": 507,
}
RETRYABLE: Final = frozenset({"busy", "rate_limited", "upstream_failed", "unavailable", "write_not_verified"})
TITLES: Final = {code: code.replace("_", " ").capitalize() for code in STATUS}


class Problem(Exception):
    """An error a caller can act on.

    `code` is one of `STATUS`; `detail` says what happened in plain words; `hint` says what to do next;
    `extra` members (JSON values) stand beside the standard ones, e.g. `conflicts`, `limit`, `allowed`.
    """

    def __init__(
        self, code: str, detail: str, *, hint: str = "", retry_after_s: float | None = None, **extra: Any
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.status = STATUS[code]
        self.detail = detail
        self.hint = hint
        self.retryable = code in RETRYABLE
        self.retry_after_s = retry_after_s
        self.extra = extra

    @property
    def told(self) -> str:
        """What happened and what to do next, as sentences in one line."""
        detail = self.detail.strip()
        ended = detail if not self.hint or detail.endswith((".", "!", "?", ":")) else f"{detail}."
        return f"{ended} {self.hint}".strip()

    def as_dict(self, request_id: str) -> dict[str, Any]:
        """The problem+json body."""
        body: dict[str, Any] = {
            "type": f"urn:builderos:problem:{self.code}",
            "title": TITLES[self.code],
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "hint": self.hint,
            "request_id": request_id,
            "retryable": self.retryable,
        }
        if self.retry_after_s is not None:
            body["retry_after_s"] = self.retry_after_s
        return cleaned(body | self.extra)
