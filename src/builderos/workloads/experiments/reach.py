"""Where an experiment lies, and the one question about it that every verb asks."""

from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.orgs.service import places
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource

from .model import experiments

Act = Literal["experiment.read", "experiment.write"]
DEFAULT = "Default"
"""The experiment of those who name none; a client of MLflow calls it `0`."""


@dataclass(frozen=True, slots=True)
class Spot:
    """A run, as far as whoever logs to it needs to know it."""

    id: str
    experiment_id: str
    active: bool
    status: str
    started_at: int


def require(unit: Unit, act: Act, project_id: str | None = None) -> tuple[str, ...]:
    """The rules that allow an act in a project, or on what lies in none. Raises `Refused`, `not_found`."""
    where = policy.org_resource(unit)
    if project_id is not None:
        where = places.project_resource(unit, places.find_project(unit, project_id))
    return policy.require(unit, act, where).rules


def experiment(
    unit: Unit, id_: str, act: Act, *, gone: bool = False, lock: bool = False
) -> tuple[sa.Row[Any], tuple[str, ...]]:
    """An experiment that the actor may act on, and the rules that say so; `gone`: a deleted one, too.

    Raises `not_found`, `Refused`.
    """
    c = experiments.c
    wanted = sa.select(experiments).where(c.name == DEFAULT if id_ == "0" else c.id == id_)
    row = unit.execute(wanted.with_for_update() if lock else wanted).one_or_none()
    rules = require(unit, act, row.project_id if row is not None else None)
    if row is None or not (row.active or gone):
        raise no_experiment(id_)
    return row, rules


def spot(unit: Unit, run_id: str, act: Act) -> Spot:
    """A run that the actor may act on, in one question to the database. Raises `not_found`, `Refused`."""
    found = unit.ask("ops.experiment_run", run_id)
    if not found:
        require(unit, act)
        raise no_run(run_id)
    experiment_id, project_id, workspace_id, project, active, status, started_at = found[0]
    where = policy.org_resource(unit)
    if project_id is not None:
        where = Resource(
            kind="project", id=project_id, org_id=unit.org_id, lies_in=(project_id, workspace_id), project=project
        )  # fmt: skip
    policy.require(unit, act, where)
    return Spot(run_id, experiment_id, active, status, started_at)


def no_experiment(id_: str) -> Problem:
    """There is none, or none that the actor may know of."""
    return Problem(
        "not_found", f"No Experiment with id={id_[:100]} exists", hint="List the experiments.", what="experiment"
    )  # fmt: skip


def no_run(id_: str) -> Problem:
    """Likewise."""
    return Problem(
        "not_found", f"Run with id={id_[:100]} not found", hint="Search the runs of the experiment.", what="run"
    )  # fmt: skip


def milliseconds(unit: Unit) -> int:
    """The unit's instant as clients of experiments count time."""
    return int(unit.now.timestamp() * 1000)
