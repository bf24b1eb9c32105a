"""What a provider's refusal means to whoever asked, in our words and with theirs."""

import json
import re
from collections.abc import Sequence
from typing import Any, Final, cast

from builderos.core.problems import Problem

from .schema import Json

TRANSIENT: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
CREDENTIAL: Final = frozenset({401, 403})
_LIMIT: Final = 429
_MISSING: Final = 404
_FAULT: Final = 500
_REDIRECT: Final = 400
_MOST: Final = 1000
_TOO_LONG: Final = re.compile(
    r"context.?(?:length|window|size)|maximum context|(?:prompt|input|request) is too long|too many tokens",
    re.IGNORECASE,
)


def refusal(
    provider: str, status: int, body: bytes, retry_after_s: float | None, keys: Sequence[str | None] = ()
) -> Problem:
    """The problem that an answer with this status and body is; `keys`: the server's credentials there."""
    said, code = (without(keys, words) for words in _words(body))
    theirs: Json = {"provider": provider, "upstream_status": status}
    if code:
        theirs["upstream_code"] = code
    quoted = f": {said}" if said else ""
    if status in CREDENTIAL:
        return Problem(
            "upstream_failed", f"{provider} does not take the server's credential{quoted}",
            hint="The server's owner has to look at the keys of this provider.", **theirs,
        )  # fmt: skip
    if status == _LIMIT:
        return Problem(
            "rate_limited", f"{provider} is asked too much at the moment{quoted}", hint="Wait and repeat the call.",
            retry_after_s=retry_after_s if retry_after_s is not None else 5.0, limit=None, used=None, resets_at=None,
            **theirs,
        )  # fmt: skip
    if status == _MISSING:
        return Problem(
            "not_found", f"{provider} does not know this model or address{quoted}",
            hint="See GET /openai/v1/models for the names.", **theirs,
        )  # fmt: skip
    if status < _REDIRECT:
        return broken(provider, f"answered with the status {status}", **theirs)
    if status < _FAULT:
        if code == "context_length_exceeded" or _TOO_LONG.search(said):
            return Problem(
                "validation_failed", f"the conversation is too long for this model{quoted}",
                hint="Send less of it, or choose a model with a larger context.", reason="context_length_exceeded",
                **theirs,
            )  # fmt: skip
        return Problem(
            "validation_failed",
            f"{provider} does not take the request{quoted}",
            hint="Mend what it names.",
            **theirs,
        )
    return broken(provider, f"failed with the status {status}{quoted}", **theirs)


def without(keys: Sequence[str | None], said: str) -> str:
    """What a provider says, without the credentials that it is asked with: some repeat them."""
    for key in filter(None, keys):
        said = said.replace(key, "[key removed]")
    return said


def broken(name: str, what: str, /, **theirs: Any) -> Problem:
    """A provider that does not work at the moment."""
    return Problem(
        "upstream_failed",
        f"{name}: {what}"[: 2 * _MOST],
        hint="Repeat the call, or choose another model.",
        **theirs,
    )


def _words(body: bytes) -> tuple[str, str]:
    """What an error says, and its code, wherever the provider puts them."""
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError):
        return "", ""
    error: Any = cast(Json, found).get("error", found) if isinstance(found, dict) else found
    if isinstance(error, str):
        return error[:_MOST], ""
    if not isinstance(error, dict):
        return "", ""
    told = cast(Json, error)
    said = next((told[name] for name in ("message", "detail", "msg") if isinstance(told.get(name), str)), "")
    code = next((told[name] for name in ("code", "type") if isinstance(told.get(name), str)), "")
    return str(said)[:_MOST], str(code)[:100]
