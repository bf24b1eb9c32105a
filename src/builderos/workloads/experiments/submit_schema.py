"""The words of runs that are carried out here: what is submitted, what is searched, what came of a search."""

from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from builderos.assets.workspaces.service import BranchWriteIn
from builderos.core.schema import In, Line, Name, Out, Text, WriteIn

from .schema import Experiment, ExperimentId, ExperimentRun, Key, Number, RunId, Word

MAX_TRIALS: Final = 256
Scalar = str | int | float | bool | None
ParamName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]
Folder = Annotated[Text, Field(min_length=1, max_length=400)]


class SubmitIn(BranchWriteIn):
    """What is carried out, on which branch (`repo_name`, `branch`), in its sandbox."""

    id: ExperimentId
    params: Annotated[
        dict[ParamName, Scalar],
        Field(description="What the command finds as PARAM_<name>, and as JSON.", max_length=100),
    ]
    dataset_ref: Annotated[
        Line, Field(description="Version of a dataset, name@version or its id; the command finds its files.")
    ]
    code_sha: Annotated[
        Line,
        Field(description="Commit of the branch that is run: 40 hexadecimal digits, or the branch's name."),
    ]
    runtime: Annotated[Name, Field(description="Approved runtime.")]
    command: Annotated[
        Text, Field(description="Script for sh, e.g. python train.py.", min_length=1, max_length=100_000)
    ]
    name: Annotated[Name | None, Field(description="What people call it; it gets a name otherwise.")] = None
    parent_id: Annotated[Line | None, Field(description="Run that it is a part of.")] = None
    tags: Annotated[dict[Key, Word], Field(max_length=100)] = {}
    profile: Annotated[
        str, Field(description="How much it may use; the first that is approved.", max_length=100)
    ] = ""
    outputs: Annotated[
        Folder, Field(description="Folder whose files are kept with the run when the command has ended.")
    ] = "outputs"
    timeout_s: Annotated[float, Field(description="Longer it does not run.", ge=1, le=30 * 86_400)] = 3600
    retries: Annotated[int, Field(description="Attempts after the first.", ge=0, le=10)] = 0
    network: Annotated[
        list[Line], Field(description="Hosts, of which policy grants some.", max_length=50)
    ] = []
    secrets: Annotated[list[Name], Field(description="Secrets as variables, by name.", max_length=50)] = []
    budget_credits: Annotated[
        float | None,
        Field(description="What all of it may cost, by the prices of the profiles.", ge=0, le=1e9),
    ] = None


class Span(In):
    """Numbers from `min` to `max`; `log`: evenly by their orders of magnitude; `step`: multiples from `min` on."""

    min: float
    max: float
    log: bool = False
    step: Annotated[float | None, Field(gt=0)] = None
    whole: Annotated[bool, Field(description="Integers alone.")] = False

    @model_validator(mode="after")
    def _fits(self) -> "Span":
        if not self.min <= self.max:
            raise ValueError("min must not be greater than max")
        if self.log and (self.min <= 0 or self.step is not None):
            raise ValueError("log needs a min above 0, and no step")
        return self


class Goal(In):
    """What is best."""

    metric: Key
    mode: Literal["max", "min"] = "max"


class Stop(In):
    """When a trial is given up.

    `median`: at a step its best value so far is worse than the median of the others' averages up to that step.
    `halving`: at the steps `after`, `after * factor`, … only the best of every `factor` trials that came so far go on.
    """

    rule: Literal["median", "halving"]
    after: Annotated[int, Field(description="First step of the goal's metric that is judged.", ge=1)] = 1
    least: Annotated[int, Field(description="Trials that must have come so far.", ge=1, le=100)] = 3
    factor: Annotated[int, Field(ge=2, le=10)] = 3


class SweepIn(SubmitIn):
    """A search: the same command with other parameters each time. `params` are the same in all of it."""

    params: Annotated[dict[ParamName, Scalar], Field(max_length=100)] = {}
    space: Annotated[
        dict[ParamName, Annotated[list[Scalar], Field(max_length=1000)] | Span],
        Field(description="Parameter to its values, or to a span of numbers.", min_length=1, max_length=20),
    ]
    method: Annotated[
        Literal["grid", "random"], Field(description="All combinations, or some by chance.")
    ] = "grid"
    trials: Annotated[int | None, Field(description="How many, by chance.", ge=1, le=MAX_TRIALS)] = None
    seed: Annotated[int, Field(description="The same seed draws the same.", ge=0, le=2**31)] = 0
    parallel: Annotated[int, Field(description="At once, at most.", ge=1, le=64)] = 2
    goal: Goal
    stop: Stop | None = None


class CancelIn(WriteIn):
    """Which run, and why."""

    id: RunId
    reason: Annotated[Text, Field(description="Why; kept with the run.", max_length=2000)] = ""


class WhichSweepIn(In):
    """Which search: the run that the others are parts of."""

    id: RunId


class Trial(Out):
    """A run of a search."""

    id: str
    name: str
    status: str
    params: dict[str, Scalar]
    value: Annotated[Number | None, Field(description="The goal's metric: the latest.")]
    stopped_early: bool


class Sweep(Out):
    """How a search stands; `trials`: the best first, those without a value last."""

    run: ExperimentRun
    goal: Goal
    method: str
    seed: int
    parallel: int
    counts: dict[str, int]
    best: Trial | None
    trials: list[Trial]


class ExportIn(In):
    """Which experiment, and which of its runs."""

    id: ExperimentId
    runs: Annotated[
        Text,
        Field(description="Ids, separated by commas; all that were not deleted without.", max_length=40_000),
    ] = ""


class ImportIn(WriteIn):
    """An archive that an export gave, sent here as an artifact."""

    artifact_id: Annotated[Line, Field(description="The archive (art_…); see POST /v1/artifacts.")]
    name: Annotated[Name | None, Field(description="Another name than it had.")] = None
    project_id: Annotated[Line | None, Field(description="Project that it is to lie in.")] = None


class ImportedExperiment(Out):
    """What was made. `runs`: from the ids that they had to those that they have."""

    experiment: Experiment
    runs: dict[str, str]
    models: int
    files: int
