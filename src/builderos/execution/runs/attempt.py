"""The one place where an attempt of a step is made, and where its outcome is handed to whoever keeps more of it."""

import asyncio
import dataclasses
import functools
import logging
from typing import Final

from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.steps import Action, Done, StepReason, Work
from builderos.core.unit import Unit
from builderos.engine.durable import Durable

from . import cache, outputs, records
from .rows import set_step

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
    """Make one attempt, or serve it from a record. Whatever goes wrong is its outcome; only a cancellation leaves,
    after all that was started has ended.
    """
    if work.timeout_s <= 0:
        return Done("timed_out", "timeout", "the time of the run was over", retry=False)
    try:
        async with asyncio.timeout(work.timeout_s + _SLACK_S):
            return await _made(context, action, work)
    except TimeoutError:
        return Done("timed_out", "timeout", f"not ended after {work.timeout_s:g} s")
    except Problem as problem:
        return failure(problem)
    except Exception as error:
        log.exception("the attempt %s failed", work.name_of_attempt)
        return Done("failed", "problem", f"{type(error).__name__}: {error}"[:500])


async def _made(context: Context, action: Action, work: Work) -> Done:
    assert action.outside is not None
    if work.node.run is None or work.node.replay is not None:
        return await action.outside(context, work)
    known, served = await context.get(Durable).unit(functools.partial(cache.look, context, work))
    if served is not None:
        return served
    done = await action.outside(context, work)
    return dataclasses.replace(done, record=known)


def failure(problem: Problem) -> Done:
    """The outcome of an attempt that was refused."""
    if problem.code in ("unavailable", "busy") and problem.retry_after_s is not None:
        # The database was away: nobody knows how far the attempt came, and it is not the step's fault.
        return Done("failed", "lost", problem.detail)
    reason = _REASONS.get(problem.code, "problem")
    return Done("failed", reason, problem.told, retry=problem.code in _AGAIN, result=_told(problem))


def _told(problem: Problem) -> dict[str, str]:
    approval_id = problem.extra.get("approval_id")
    return {"code": problem.code} | ({"approval_id": str(approval_id)} if approval_id else {})


def record(unit: Unit, work: Work, done: Done) -> None:
    """Called in the unit that records an attempt, before anything follows from it."""
    kept = outputs.keep(unit, work, done)
    key = records.write(unit, work, done, kept)
    if key is not None:
        set_step(unit, work.step_id, cache_key=key)
