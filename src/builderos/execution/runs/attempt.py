"""The one place where an attempt of a step is made, and where its outcome is handed to whoever keeps more of it."""

import asyncio
import logging
from typing import Final

from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.steps import Action, Done, StepReason, Work
from builderos.core.unit import Unit

log = logging.getLogger("builderos.runs")
_SLACK_S: Final = 10.0  # what runs commands ends them by itself; this is for what does not
_REASONS: Final[dict[str, StepReason]] = {
    "policy_denied": "policy", "approval_required": "policy", "tool_not_allowed": "policy",
    "forbidden_branch": "policy", "protected_branch": "policy", "runtime_not_approved": "policy",
    "token_invalid": "policy", "token_expired": "policy",
    "conflict": "conflict", "budget_exceeded": "budget", "quota_exceeded": "budget", "credits_exhausted": "budget",
    "storage_full": "disk",
}  # fmt: skip
_AGAIN: Final = frozenset({"upstream_failed", "unavailable", "busy", "rate_limited", "internal"})


async def made(context: Context, action: Action, work: Work) -> Done:
    """Make one attempt. Whatever goes wrong is its outcome; only a cancellation leaves, after all that was started has
    ended.
    """
    assert action.outside is not None
    if work.timeout_s <= 0:
        return Done("timed_out", "timeout", "the time of the run was over", retry=False)
    try:
        async with asyncio.timeout(work.timeout_s + _SLACK_S):
            return await action.outside(context, work)
    except TimeoutError:
        return Done("timed_out", "timeout", f"not ended after {work.timeout_s:g} s")
    except Problem as problem:
        return failure(problem)
    except Exception as error:
        log.exception("the attempt %s failed", work.name_of_attempt)
        return Done("failed", "problem", f"{type(error).__name__}: {error}"[:500])


def failure(problem: Problem) -> Done:
    """The outcome of an attempt that was refused."""
    reason = _REASONS.get(problem.code, "problem")
    text = f"{problem.detail} {problem.hint}".strip()
    return Done("failed", reason, text, retry=problem.code in _AGAIN, result={"code": problem.code})


def record(unit: Unit, work: Work, done: Done) -> None:
    """Called in the unit that records an attempt, before anything follows from it."""
    del unit, work, done
