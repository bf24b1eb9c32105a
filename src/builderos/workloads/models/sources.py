"""What is asked of the rooms that made a model: files of runs and logged models, what runs measured, evals."""

from dataclasses import dataclass, field
from typing import Any

from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.workloads.evals import service as evals
from builderos.workloads.experiments import service as experiments


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a run says of itself. `run_id`: the run of a pipeline that carried it out."""

    name: str
    metrics: dict[str, float] = field(default_factory=dict[str, float])
    params: dict[str, str] = field(default_factory=dict[str, str])
    datasets: list[str] = field(default_factory=list[str])
    code_sha: str | None = None
    run_id: str | None = None


def files(unit: Unit, owner: str, folder: str) -> list[tuple[str, str]]:
    """Path and artifact of all below a folder of a run or a logged model. Raises `not_found`, `Refused`."""
    experiments.files.owned(unit, owner, "experiment.read")
    found = experiments.files.below(unit, owner, folder)
    return [(file.path, file.artifact_id) for file in found if file.artifact_id is not None]


def facts(unit: Unit, run_id: str | None) -> RunFacts | None:
    """What a run measured, and with what; None where there is none that the actor may know of."""
    if run_id is None:
        return None
    try:
        found = experiments.runs.show(unit, run_id)
    except Problem as problem:
        if problem.code != "not_found":
            raise
        return None
    row = found.row
    metrics = {key: float(value) for key, value in found.pairs("metrics").items()}
    params = {key: str(value) for key, value in found.pairs("params").items()}
    datasets = [str(one["dataset"]["name"]) for one in found.listed("inputs")]
    return RunFacts(
        row.name,
        metrics,
        params,
        [row.dataset_ref] if row.dataset_ref else datasets,
        row.code_sha,
        row.run_id,
    )


def verdicts(unit: Unit, run_id: str | None) -> list[dict[str, Any]]:
    """Suites of evals that were tried in the run of a pipeline, oldest first."""
    return evals.of_run(unit, run_id) if run_id is not None else []
