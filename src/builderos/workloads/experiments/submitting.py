"""Runs that are carried out here: one step of ShipMachine each, in the sandbox of a branch."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson
import sqlalchemy as sa

from builderos.assets.repositories.schema import Branch
from builderos.assets.workspaces import service as workspaces
from builderos.core.ids import new_id
from builderos.core.operations import Reply
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.execution.compute import service as compute
from builderos.execution.runs import service as execution
from builderos.execution.runs.schema import RunControlIn
from builderos.trust.ledger import service as ledger
from builderos.workloads.datasets import service as datasets
from builderos.workloads.lineage import service as lineage

from . import reach, runs
from .keeping import for_runs
from .limits import invalid
from .logging import log
from .schema import ExperimentRun
from .submit_schema import CancelIn, Scalar, SubmitIn
from .verbs import PARENT, as_run

ACTION: Final = "experiment.train"
STEP: Final = "train"
_FOLDER: Final = "outputs"
_SLACK_S: Final = 60.0
_LEAST_S: Final = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run is carried out, and on what."""

    branch: Branch
    experiment_id: str
    project_id: str | None
    code_sha: str
    dataset: Any
    runtime: str


def submit(unit: Unit, body: SubmitIn) -> Reply[ExperimentRun]:
    """Submit a run; it is scheduled when this returns.

    Raises what `locate` raises, `not_found` for experiment, commit and dataset, `runtime_not_approved`.
    """
    place = place_of(unit, body)
    id_ = new_id("xrn")
    name = body.name or f"{workspaces.draw_name(0)}"
    run_id = execution.begin(
        unit, pipeline(body, step_of(body, place)), {}, at(place),
        {"type": "manual", "by": unit.actor.id}, kind="experiment",
    )  # fmt: skip
    tags = body.tags | ({PARENT: body.parent_id} if body.parent_id is not None else {})
    made = begin(unit, place, id_, name, body.params, tags, run_id=run_id, step=STEP)
    return Reply(202, as_run(made))


def place_of(unit: Unit, body: SubmitIn) -> Place:
    """Everything that a submission names, looked up and allowed."""
    found = workspaces.locate(unit, body, "run.start")
    experiment = for_runs(unit, body.id)
    reach.require(unit, "experiment.write", experiment.project_id)
    if body.parent_id is not None:
        reach.spot(unit, body.parent_id, "experiment.write")
    sha = workspaces.resolve(unit, found, body.code_sha)
    data = datasets.row_of(unit, body.dataset_ref)
    runtime, _, _ = compute.runtime_of(unit, found.branch.repo_id, body.runtime, body.profile)
    outputs = body.outputs.strip("/")
    if not outputs or any(part in ("", ".", "..", ".git") for part in outputs.split("/")) or "\\" in outputs:
        raise invalid("outputs must be a folder within the workspace", hint=f"Take {_FOLDER}.")
    return Place(found.branch, experiment.id, experiment.project_id, sha, data, runtime)


def at(place: Place) -> Branch:
    """The branch as it was at the commit that is run."""
    return replace(place.branch, tip=place.code_sha)


def step_of(body: SubmitIn, place: Place) -> execution.Step:
    """The step that carries it out."""
    inputs = {
        "experiment": place.experiment_id, "dataset": place.dataset.id, "outputs": body.outputs.strip("/"),
    }  # fmt: skip
    return execution.Step(
        STEP, 1, ACTION, run=body.command, runtime=place.runtime, profile=body.profile or None,
        network=tuple(body.network), secrets=tuple(body.secrets), timeout_s=body.timeout_s, deterministic=False,
        retries=execution.Retries(max=body.retries), inputs=inputs,
    )  # fmt: skip


def pipeline(
    body: SubmitIn, step: execution.Step, *, kind: str = "experiment", rounds: int = 1
) -> execution.Definition:
    """The definition of the run. `rounds`: how often its step is carried out, one after the other."""
    longest = rounds * (1 + body.retries) * (body.timeout_s + _SLACK_S)
    return execution.Definition(
        kind, "1.0.0", (step,), timeout_s=max(longest, _LEAST_S), lanes="continue",
        budget_credits=body.budget_credits,
    )  # fmt: skip


def begin(
    unit: Unit, place: Place, id_: str, name: str, params: Mapping[str, Scalar], tags: Mapping[str, str], *,
    run_id: str, step: str | None, sweep: Mapping[str, Any] | None = None,
) -> runs.Shown:  # fmt: skip
    """The row of a run that is carried out by a step of another one; its parameters; where it comes from."""
    node = lineage.Node("experiment_run", id_, name)
    if step is not None:
        branch = place.branch
        sandbox = "sbx_" + branch.id.removeprefix("br_") if branch.kind == "sandbox" else None
        code = lineage.Node("code", place.code_sha, f"{branch.repo_name} at {place.code_sha[:8]}")
        lineage.record(unit, code, node, "input_of", sandbox_id=sandbox)
        lineage.record(
            unit, datasets.node_of(place.dataset), node, "input_of", sandbox_id=place.dataset.sandbox_id
        )
    submitted = runs.Submitted(
        params,
        f"{place.dataset.name}@{place.dataset.version}",
        place.code_sha,
        place.runtime,
        run_id,
        step,
        sweep,
    )
    made = runs.start(unit, place.experiment_id, name=name, given=tags, submitted=submitted, id_=id_)
    texts = {key: as_text(value) for key, value in params.items()}
    for some in batches(texts):
        log(unit, id_, params=some)
    made.parts |= runs.parts_of("params", texts)
    return made


def batches(texts: Mapping[str, str], most: int = 100) -> list[dict[str, str]]:
    """So many at a time as may be logged at once."""
    items = list(texts.items())
    return [dict(items[n : n + most]) for n in range(0, len(items), most)]


def as_text(value: Scalar) -> str:
    """A parameter as it is logged."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def cancel(unit: Unit, body: CancelIn) -> Reply[ExperimentRun]:
    """Cancel a run that is carried out here, with all that it runs. Raises `not_found`, `illegal_transition`."""
    reach.spot(unit, body.id, "experiment.write")
    row = runs.known(unit, body.id)
    if row.run_id is None:
        raise Problem(
            "illegal_transition", "this run is carried out elsewhere", hint="Stop it there, and say that it ended.",
            allowed=["end"],
        )  # fmt: skip
    if _is_trial(unit, row):
        _give_up(unit, row, body.reason)
    else:
        execution.cancel(unit, RunControlIn(id=row.run_id, reason=body.reason))
    return Reply(202, as_run(runs.gathered(unit, [runs.known(unit, body.id)])[0]))


def _is_trial(unit: Unit, row: runs.Row) -> bool:
    """Whether it is one of several that the same run carries out."""
    c = runs.runs.c
    parent = sa.select(c.id).where(c.run_id == row.run_id, c.step.is_(None), c.id != row.id)
    return row.step is not None and unit.execute(parent.limit(1)).first() is not None


def _give_up(unit: Unit, row: runs.Row, reason: str) -> None:
    """End one trial: whoever looks after its command sees it here, and one that has not begun never does."""
    if row.status not in ("scheduled", "running"):
        raise Problem(
            "illegal_transition", f"this run is {row.status}", hint="Look at its status first.", allowed=[]
        )
    c = runs.runs.c
    values = {"status": "killed", "ended_at": reach.milliseconds(unit)}
    unit.execute(sa.update(runs.runs).where(c.id == row.id).values(**values))
    told = {"experiment_run": row.id, "step": row.step, "reason": reason}
    execution.events.add(unit, row.run_id, "experiment.cancelled", told)
    ledger.record(unit, "experiment_run.cancelled", row.id, told)


def of_step(unit: Unit, run_id: str, step: str) -> runs.Row | None:
    """The run that a step carries out."""
    c = runs.runs.c
    return unit.execute(sa.select(runs.runs).where(c.run_id == run_id, c.step == step)).one_or_none()
