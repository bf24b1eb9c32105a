"""The words of experiments: what is asked, what is answered."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from builderos.core.schema import In, Line, Name, Out, Text, WriteIn

ExperimentId = Annotated[
    Line, Field(description="Id of the experiment (exp_…); 0 is the one called Default.")
]
RunId = Annotated[Line, Field(description="Id of the run of an experiment (xrn_…).")]
Number = Annotated[
    float | Literal["NaN", "Infinity", "-Infinity"],
    Field(description="A number; JSON has no NaN and no infinity, so these are words."),
]
Status = Literal["running", "scheduled", "finished", "failed", "killed"]
Word = Annotated[Text, Field(max_length=8000)]
Key = Annotated[Text, Field(min_length=1, max_length=250)]
Filter = Annotated[
    Text,
    Field(
        description="E.g. metrics.acc > 0.9 AND params.model = 'net' AND tags.team LIKE 'a%'.",
        max_length=20_000,
    ),
]
Cursor = Annotated[str | None, Field(description="Where the page before ended.")]


class ExperimentListIn(In):
    """Filters of the list."""

    q: Annotated[Line | None, Field(description="Part of the name.")] = None
    state: Annotated[Literal["active", "deleted", "all"], Field(description="Which ones.")] = "active"
    limit: int = Field(50, ge=1, le=200)
    cursor: Cursor = None


class Experiment(Out):
    """An experiment: runs that belong together."""

    id: str
    name: str
    project_id: str | None
    tags: dict[str, str]
    state: Literal["active", "deleted"]
    created_by: str
    created_at: datetime
    updated_at: datetime


class ExperimentPage(Out):
    """One page, newest first."""

    items: list[Experiment]
    next_cursor: str | None


class ExperimentIn(WriteIn):
    """A new experiment."""

    name: Name
    project_id: Annotated[Line | None, Field(description="Project that it lies in; its members see it.")] = (
        None
    )
    tags: Annotated[dict[Key, Word], Field(max_length=100)] = {}


class WhichExperimentIn(In):
    """Which one."""

    id: ExperimentId


class ExperimentChangeIn(WriteIn):
    """What is to be different."""

    id: ExperimentId
    name: Name | None = None
    state: Annotated[
        Literal["active", "deleted"] | None,
        Field(description="deleted: put away with its runs, and got back by active."),
    ] = None


class RunOpenIn(WriteIn):
    """A run that is carried out elsewhere, and logs here."""

    id: ExperimentId
    name: Annotated[Name | None, Field(description="What people call it; it gets a name otherwise.")] = None
    parent_id: Annotated[Line | None, Field(description="Run that it is a part of.")] = None
    started_at_ms: Annotated[
        int | None, Field(description="When it began, by the clock of its machine.", ge=-(2**63), lt=2**63)
    ] = None
    params: Annotated[dict[Key, Word], Field(max_length=100)] = {}
    tags: Annotated[dict[Key, Word], Field(max_length=100)] = {}


class ExperimentRun(Out):
    """A run as lists show it. `external`: nobody here vouches for its data, code and runtime."""

    id: str
    experiment_id: str
    name: str
    status: Status
    external: bool
    dataset_ref: str | None
    code_sha: str | None
    runtime: str | None
    run_id: Annotated[str | None, Field(description="The run (run_…) that carries it out.")]
    is_sweep: Annotated[bool, Field(description="A search of parameters; its trials are runs of their own.")]
    state: Literal["active", "deleted"]
    started_at_ms: int
    ended_at_ms: int | None
    created_by: str
    created_at: datetime
    metrics: Annotated[
        dict[str, Number], Field(description="Of each series, the point with the greatest step.")
    ]
    params: dict[str, str]
    tags: dict[str, str]


class ExperimentInput(Out):
    """Data that a run read."""

    name: str
    digest: str
    tags: dict[str, str]


class ExperimentRunShown(ExperimentRun):
    """A run with all that is known of it. `submitted`: its parameters as they were submitted."""

    inputs: list[ExperimentInput]
    models: Annotated[list[str], Field(description="Models that it made.")]
    submitted: dict[str, Any]


class ExperimentRunPage(Out):
    """One page."""

    items: list[ExperimentRun]
    next_cursor: str | None


class RunSearchIn(In):
    """Which runs of an experiment, in which order."""

    id: ExperimentId
    filter: Filter = ""
    order_by: Annotated[
        Line,
        Field(
            description="Keys with ASC or DESC, separated by commas, e.g. metrics.acc DESC; newest first without."
        ),
    ] = ""
    state: Annotated[Literal["active", "deleted", "all"], Field(description="Which ones.")] = "active"
    limit: int = Field(50, ge=1, le=200)
    cursor: Cursor = None


class WhichRunIn(In):
    """Which run."""

    id: RunId


class MetricPoint(In):
    """A value of a series."""

    key: Key
    value: Number
    step: Annotated[int, Field(ge=-(2**63), lt=2**63)] = 0
    at_ms: Annotated[
        int | None, Field(description="By the clock of its machine; now without.", ge=-(2**63), lt=2**63)
    ] = None


class LogIn(In):
    """What a run has to say. The same sent twice is kept once."""

    id: RunId
    metrics: Annotated[list[MetricPoint], Field(max_length=1000)] = []
    params: Annotated[dict[Key, Word], Field(max_length=100)] = {}
    tags: Annotated[dict[Key, Word], Field(max_length=100)] = {}


class Logged(Out):
    """How much was logged."""

    metrics: int
    params: int
    tags: int


class RunEndIn(WriteIn):
    """How a run ended; a run that was ended before has the later end."""

    id: RunId
    status: Annotated[Literal["finished", "failed", "killed"], Field(description="What came of it.")] = (
        "finished"
    )
    ended_at_ms: Annotated[
        int | None, Field(description="When, by the clock of its machine.", ge=-(2**63), lt=2**63)
    ] = None


class SeriesIn(In):
    """Which series of a run."""

    id: RunId
    key: Annotated[Key, Field(description="Name of the metric.")]
    limit: Annotated[int, Field(ge=1, le=25_000)] = 1000
    cursor: Cursor = None


class SeriesPoint(Out):
    """A value of a series."""

    step: int
    at_ms: int
    value: Number


class SeriesPage(Out):
    """One page, in the order in which it was logged by the run's own clock."""

    key: str
    items: list[SeriesPoint]
    next_cursor: str | None


class FilesIn(In):
    """Which folder of a run, or of a logged model."""

    id: Annotated[Line, Field(description="Id of the run (xrn_…) or of a logged model (m-…).")]
    path: Annotated[Text, Field(description="Folder; all without.", max_length=4096)] = ""


class ExperimentFile(Out):
    """A file, or a folder, which has neither size nor artifact."""

    path: str
    size: int | None
    artifact_id: Annotated[str | None, Field(description="GET /v1/artifacts/{id}/content gives its bytes.")]


class FileList(Out):
    """What lies in the folder."""

    items: list[ExperimentFile]


class CompareIn(In):
    """Which runs of an experiment are laid side by side."""

    id: ExperimentId
    runs: Annotated[
        Text, Field(description="Ids, separated by commas, at most 100.", min_length=1, max_length=5000)
    ]
    series: Annotated[
        Text,
        Field(
            description="Metrics whose points are wanted, separated by commas, at most 20.", max_length=5000
        ),
    ] = ""
    points: Annotated[
        int, Field(ge=2, le=2000, description="Points of a series, at most; evenly picked.")
    ] = 200
    axis: Annotated[
        Literal["step", "time"],
        Field(description="Of the points: their step, or milliseconds since their run began."),
    ] = "step"


class ComparedRun(Out):
    """A column of the tables."""

    id: str
    name: str
    status: Status
    started_at_ms: int
    ended_at_ms: int | None
    duration_ms: int | None
    dataset_ref: str | None
    code_sha: str | None
    runtime: str | None


class ComparedParam(Out):
    """A parameter, with a value for each run. `differs`: not all runs have the same."""

    key: str
    values: list[str | None]
    differs: bool


class ComparedMetric(Out):
    """A metric, with its latest value for each run."""

    key: str
    values: list[Number | None]
    least: float | None
    greatest: float | None


class ComparedSeries(Out):
    """A metric along the axis: for each run pairs of a place and a value."""

    key: str
    points: list[list[tuple[int, Number]]]


class ComparedFile(Out):
    """A file, with the artifact and the size in each run that has it."""

    path: str
    artifacts: list[str | None]
    sizes: list[int | None]


class Comparison(Out):
    """Runs side by side: the values of every row stand in the order of `runs`."""

    runs: list[ComparedRun]
    params: list[ComparedParam]
    metrics: list[ComparedMetric]
    series: list[ComparedSeries]
    files: list[ComparedFile]
