"""A run as one trace, over processes and restarts: its id, and those of its steps, follow from theirs.

Run → step → turn → what is done in it (`tool …`, `command`). Turns are spans of the process that has them; a step and
a run are told of once, by whoever records their end. No word of a pipeline is among the attributes, only ids of ours.
"""

import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Final

from builderos.core import tracing
from builderos.core.problems import Problem
from builderos.core.steps import Work
from builderos.core.unit import Unit

RUN: Final = "builderos.run.id"
STEP: Final = "builderos.step.id"
DECISION: Final = "builderos.policy.decision"
_DENIED: Final = frozenset(
    {"policy_denied", "approval_required", "tool_not_allowed", "forbidden_branch", "protected_branch",
     "runtime_not_approved", "token_invalid", "token_expired"}
)  # fmt: skip
_BAD: Final = frozenset({"failed", "denied", "cancelled", "timed_out"})


def trace_of(run_id: str) -> str:
    """The id of a run's trace."""
    return hashlib.sha256(f"trace {run_id}".encode()).hexdigest()[:32]


def span_of(id_: str) -> str:
    """The id of the span of a run or a step."""
    return hashlib.sha256(f"span {id_}".encode()).hexdigest()[:16]


def turn(run_id: str, step_id: str) -> AbstractContextManager[tracing.Span]:
    """What this process does for a step."""
    parent = f"00-{trace_of(run_id)}-{span_of(step_id)}-01"
    return tracing.below(parent, "turn", {RUN: run_id, STEP: step_id})


def doing(what: str, work: Work) -> AbstractContextManager[tracing.Span]:
    """A command, or the call of a tool, of an attempt. The decision is `allow` unless it ends in a refusal."""
    told = {
        RUN: work.run_id, STEP: work.step_id, "builderos.step.attempt": work.attempt, DECISION: "allow",
    }  # fmt: skip
    return tracing.span(what, told if tracing.on() else {})


def refused(span: tracing.Span, problem: Problem) -> None:
    """What it was about to do was not done."""
    span.set(DECISION, "deny" if problem.code in _DENIED else "none")
    span.fail(problem.code)


def step_ended(unit: Unit, step: Any, status: str, values: Mapping[str, Any]) -> None:
    """Tell of a step once its end is durable. What was never begun has no span."""
    if not tracing.on() or status == "skipped":
        return
    reason = values.get("reason")
    attributes: dict[str, tracing.Value] = {
        RUN: step.run_id, STEP: step.id, "builderos.step.status": status,
        "builderos.step.attempts": step.attempt, DECISION: _decision(status, reason),
    }  # fmt: skip
    if step.agent_id:
        attributes["builderos.step.agent"] = True
    span = tracing.Ended(
        "step", trace_of(step.run_id), span_of(step.id), span_of(step.run_id), step.started_at or unit.now, unit.now,
        attributes, (reason or status) if status in _BAD else None,
    )  # fmt: skip
    unit.after_commit(lambda: tracing.ended(span))


def run_ended(unit: Unit, run: Any, status: str) -> None:
    """Likewise of a run."""
    if not tracing.on():
        return
    attributes: dict[str, tracing.Value] = {
        RUN: run.id, "builderos.run.kind": run.kind, "builderos.run.status": status,
        DECISION: "deny" if status == "denied" else "allow",
    }  # fmt: skip
    if run.traceparent:
        attributes["builderos.run.asked_in"] = run.traceparent  # the trace of the request that started it
    span = tracing.Ended(
        "run", trace_of(run.id), span_of(run.id), None, run.created_at, unit.now, attributes,
        status if status in _BAD else None,
    )  # fmt: skip
    unit.after_commit(lambda: tracing.ended(span))


def _decision(status: str, reason: str | None) -> str:
    return "deny" if status == "denied" or reason == "policy" else "allow"
