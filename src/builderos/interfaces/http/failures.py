"""A failed call leaves one line in the ledger, whatever door it came through and whatever was rolled back.

What the policy refused has a line of its own (`records.note_refusal`).
"""

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from builderos.core.context import Context
from builderos.core.operations import Operation
from builderos.core.problems import Problem
from builderos.core.schema import In
from builderos.core.unit import Call, Unit, perform
from builderos.trust.ledger import service as ledger
from builderos.trust.notices import service as notices
from builderos.trust.policy import service as policy
from builderos.trust.secrets.service import redacted

log = logging.getLogger("builderos.http")
MAX_PATHS: Final = 100
MAX_REFS: Final = 20
MAX_PATH: Final = 4096
_UNSTORABLE: Final = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")

# Limits whose breach is told here, because nothing else tells it.
TOLD: Final[dict[str, notices.Rule]] = {
    "payload_too_large": "quota_exceeded",
    "budget_exceeded": "budget_exceeded",
}
# Says nothing of the call: the same call succeeds a moment later, or the alert of the limit tells it already.
PASSING: Final = frozenset({"busy", "unavailable", "rate_limited"})


def note(context: Context, call: Call, operation: Operation, body: In, problem: Problem) -> None:
    """Record a problem of a known actor in a unit of its own; a fault while doing so never hides the problem itself."""
    if call.actor.role == "anonymous" or problem.code in PASSING:
        return
    payload = _payload(call, operation, body, problem)

    def verb(unit: Unit) -> None:
        _tell(unit, operation.name, problem)
        ledger.record(unit, "call.failed", operation.name, payload)

    _write(context, call, verb)


def note_push(context: Context, call: Call, repo: str, refused: Mapping[str, Problem]) -> None:
    """Record the refs that a push was not allowed to move; what the policy refused has its line already."""
    noted = [
        (ref, problem) for ref, problem in refused.items()
        if problem.code not in PASSING and not isinstance(problem, policy.Refused)
    ]  # fmt: skip

    def verb(unit: Unit) -> None:
        for _, problem in noted[:MAX_REFS]:
            _tell(unit, call.tool, problem)
        for ref, problem in noted[:MAX_REFS]:
            wanted = _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", ref).removeprefix("refs/heads/")[:MAX_PATH]
            payload = {"operation": call.tool, "code": problem.code, "status": problem.status, "repo": repo,
                       "branch": call.actor.branch or wanted, "wanted": wanted}  # fmt: skip
            ledger.record(unit, "call.failed", call.tool, payload)

    if noted:
        _write(context, call, verb)


def _tell(unit: Unit, tool: str, problem: Problem) -> None:
    """Raise the alert of a limit that nothing else tells of."""
    if problem.code in TOLD:
        told = {name: problem.extra[name] for name in ("limit", "used", "name") if name in problem.extra}
        object_ = unit.actor.sandbox_id or unit.actor.id
        notices.raise_alert(unit, TOLD[problem.code], object_, {"operation": tool, **told})


def note_crash(context: Context, call: Call, operation: Operation, body: In) -> None:
    """Record a fault of ours, and raise the alert `tool_failed`."""
    payload = _payload(call, operation, body, Problem("internal", "a fault of the server"))
    request_id = call.request_id

    def verb(unit: Unit) -> None:
        notices.raise_alert(unit, "tool_failed", operation.name, {"request_id": request_id})
        ledger.record(unit, "call.failed", operation.name, payload)

    _write(context, call, verb)


def _payload(call: Call, operation: Operation, body: In, problem: Problem) -> dict[str, Any]:
    """What failed and where: the actor's own branch where it has one, so that nobody's failures count for another."""
    wanted: str | None = getattr(body, "branch", None)
    own = call.actor.branch
    members = {
        "operation": operation.name,
        "code": problem.code,
        "status": problem.status,
        "repo": getattr(body, "repo_name", None),
        "repo_id": call.actor.repo_id,
        "branch": own or wanted,
        "wanted": wanted if own is not None and wanted != own else None,
        "paths": _paths(body) or None,
    }
    # What a caller names may be anything, also a token that was pasted into the wrong field.
    return {name: redacted(value) for name, value in members.items() if value is not None}


def _paths(body: In) -> list[str]:
    """The files that a call named, in the forms in which tools name them; only what the audit can be asked for."""
    listed: list[Any] = [
        getattr(body, "path", None),
        getattr(body, "file_path", None),
        *(getattr(body, "paths", None) or ()),
    ]
    listed += [getattr(item, "path", None) for item in getattr(body, "files", None) or ()]
    named = {path for path in listed if isinstance(path, str) and 0 < len(path) <= MAX_PATH}
    # A path that was refused may hold anything, also what no database stores.
    return sorted(_UNSTORABLE.sub("\ufffd", path) for path in named)[:MAX_PATHS]


def _write(context: Context, call: Call, verb: Callable[[Unit], object]) -> None:
    try:
        perform(context, call, verb)
    except Problem as fault:
        log.warning("a failed call could not be recorded: %s", fault.code)
