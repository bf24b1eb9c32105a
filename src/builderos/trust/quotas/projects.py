"""Budgets of projects: nothing new begins once one is used up, and what runs is ended.

A project is a repository. Its commands count while they run; its requests to models count in the gateway. As long as
anything is left a start is let through; whoever looks after a command ends it within seconds of the bound.
"""

from typing import Any, Final

from builderos.core.unit import Unit

from .budgets import AnyMeter, Budgets, Standing, exceeded

COMMANDS: Final[frozenset[AnyMeter]] = frozenset({"cpu_seconds", "memory_hours"})
GPU: Final[AnyMeter] = "gpu_hours"


def require(unit: Unit, repo_id: str | None, *, gpu: bool = False) -> None:
    """Raise `budget_exceeded` where a budget for commands of this project is used up; `gpu`: they hold one.

    Asks the database only about projects that have a budget.
    """
    for standing in standings(unit, repo_id):
        if standing.level == "exceeded" and is_about(standing, gpu=gpu):
            raise exceeded(standing)


def is_about(standing: Standing, *, gpu: bool) -> bool:
    """Whether commands use up this budget."""
    return standing.meter in COMMANDS or (gpu and standing.meter == GPU)


def standings(unit: Unit, repo_id: str | None) -> list[Standing]:
    """How far the budgets of a project are used now."""
    if repo_id is None or not unit.get(Budgets).has_project(unit.org_id, repo_id):
        return []
    return [
        _standing(unit, repo_id, row) for row in unit.ask("ops.project_standings", repo_id, unit.now.date())
    ]


def _standing(unit: Unit, repo_id: str, row: tuple[Any, ...]) -> Standing:
    meter, period, amount, used, since = row
    project = unit.get(Budgets).project(unit.org_id, repo_id)
    return Standing(unit.org_id, meter, period, amount, used, since, repo_id, project)
