"""A failed call leaves one line in the ledger, whatever door it came through and whatever was rolled back.

What the policy refused has a line of its own (`records.note_refusal`).
"""

import logging
from collections.abc import Callable
from typing import Any, Final

from builderos.core.context import Context
from builderos.core.operations import Operation
from builderos.core.problems import Problem
from builderos.core.schema import In
from builderos.core.unit import Call, Unit, perform
from builderos.trust.ledger import service as ledger
from builderos.trust.notices import service as notices

log = logging.getLogger("builderos.http")

# Says nothing of the call: the same call succeeds a moment later, or the alert of the limit tells it already.
PASSING: Final = frozenset({"busy", "unavailable", "rate_limited"})


def note(context: Context, call: Call, operation: Operation, body: In, problem: Problem) -> None:
    """Record a problem of a known actor in a unit of its own; a fault while doing so never hides the problem itself."""
    if call.actor.role == "anonymous" or problem.code in PASSING:
        return
    payload = _payload(call, operation, body, problem)
    _write(context, call, lambda unit: ledger.record(unit, "call.failed", operation.name, payload))


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
    }
    return {name: value for name, value in members.items() if value is not None}


def _write(context: Context, call: Call, verb: Callable[[Unit], object]) -> None:
    try:
        perform(context, call, verb)
    except Problem as fault:
        log.warning("a failed call could not be recorded: %s", fault.code)
