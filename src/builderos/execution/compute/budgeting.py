"""What a command holds and uses counts against its project's budgets while it runs; it is ended when one is used up."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import sqlalchemy as sa

from builderos.core.clock import utcnow
from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.unit import Unit, as_system
from builderos.trust.quotas import service as quotas
from builderos.trust.quotas.service import projects

from .dialing import meter_of

LOOK_S: Final = (0.2, 5.0)  # from one look at the budgets to the next, at least and at most
COUNT_S: Final = 300.0  # how often what a project without a budget uses is written down
_GIB: Final = 1024**3
_HOUR_S: Final = 3600.0


def count(unit: Unit, row: sa.Row[Any], cpu_s: float, wall_s: float) -> None:
    """Write down what an execution used so far: seconds of processor, and of time for what it holds."""
    if row.budget_repo_id is not None:
        unit.ask("ops.count_execution", row.id, cpu_s, wall_s, unit.now.date())


async def until_used_up(context: Context, row: sa.Row[Any]) -> str:
    """Count one execution while it runs; returns once a budget of its project is used up, with words that say so."""
    counted = utcnow()
    while True:
        pause = LOOK_S[1]
        known = context.get(quotas.budgets.Budgets).has_project(row.org_id, row.budget_repo_id)
        if known or (utcnow() - counted).total_seconds() >= COUNT_S:
            counted = utcnow()
            standings = await _looked(context, row)
            over = next((standing for standing in standings if standing.level == "exceeded"), None)
            if over is not None:
                return _words(over)
            pause = min([pause, *(_seconds_left(row, standing) for standing in standings)])
        await asyncio.sleep(max(LOOK_S[0], pause))


async def _looked(context: Context, row: sa.Row[Any]) -> list[quotas.budgets.Standing]:
    try:
        return await asyncio.to_thread(as_system, context, row.org_id, _look(context, row))
    except Problem as problem:
        if not problem.retryable:
            raise
        return []  # the database is away: the command goes on, and is counted afterwards


def _look(context: Context, row: sa.Row[Any]) -> Callable[[Unit], list[quotas.budgets.Standing]]:
    def look(unit: Unit) -> list[quotas.budgets.Standing]:
        meter = meter_of(context, row.sandbox_id) if row.provider == "local" else None
        wall_s = max(0.0, (unit.now - row.started_at).total_seconds())
        count(unit, row, meter.cpu_s if meter is not None else 0.0, wall_s)
        found = projects.standings(unit, row.budget_repo_id)
        return [standing for standing in found if projects.is_about(standing, gpu=row.gpu > 0)]

    return look


def _seconds_left(row: sa.Row[Any], standing: quotas.budgets.Standing) -> float:
    """How long this execution alone can go on; one that shares its budget is looked at again within `LOOK_S`."""
    left = standing.amount - standing.used
    if standing.meter == "memory_hours":
        return left * _HOUR_S * _GIB / row.memory if row.memory else LOOK_S[1]
    if standing.meter == "gpu_hours":
        return left * _HOUR_S / row.gpu
    return left


def _words(standing: quotas.budgets.Standing) -> str:
    amount = quotas.budgets.plain(standing.amount)
    return (
        f"ended when the project {standing.project} had used up its budget of {amount} {standing.meter} "
        f"per {standing.period}"
    )
