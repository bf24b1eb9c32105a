"""The words of runs and steps (SPEC §5: these names are fixed)."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from builderos.assets.workspaces.service import BranchWriteIn
from builderos.core.schema import In, Json, Line, Name, Out, Prose, Text, WriteIn

from .rows import RunStatus, StepStatus


class RunStartIn(BranchWriteIn):
    """What to run, with what, on which branch."""

    pipeline: Annotated[
        Name,
        Field(description="Pipeline, e.g. feature_pipeline, or feature_pipeline@1.2.0 for a version of it."),
    ]
    params: Annotated[dict[Text, Json], Field(description="Values for the pipeline's parameters.")] = {}
    priority: Annotated[
        int | None, Field(description="1 runs first, 9 last; the pipeline's own by default.", ge=1, le=9)
    ] = None


class RunStarted(Out):
    """A run that was accepted."""

    run_id: str
    status: RunStatus
    message: str


class RunIn(In):
    """Which run."""

    id: Line


class RunControlIn(WriteIn):
    """Which run, and why."""

    id: Line
    reason: Annotated[Text, Field(description="Why; kept with the run.", max_length=2000)] = ""


class RunRerunIn(WriteIn):
    """Run again, from a step on: what came before is taken over as it is."""

    id: Line
    from_step: Annotated[
        Name | None, Field(description="First step to run again; all of them when left out.")
    ] = None


class RunAnswerIn(WriteIn):
    """What somebody says to a run that asks."""

    id: Line
    step: Annotated[Name | None, Field(description="Step that asks, where several do.")] = None
    answer: Annotated[
        Prose, Field(description="The answer; one of the choices where there are some.", max_length=20_000)
    ]


class RunListIn(In):
    """Filters of the list of runs."""

    repo_name: Name | None = None
    branch: Annotated[Name | None, Field(description="Only runs on this branch.")] = None
    pipeline: Annotated[Name | None, Field(description="Only runs of this pipeline, by its name.")] = None
    status: RunStatus | None = None
    open: Annotated[
        bool | None, Field(description="true: only runs that are not over; false: only those that are.")
    ] = None
    brief: Annotated[
        bool,
        Field(description="With each run how many steps it has, and the first of them as spans of time."),
    ] = False
    counts: Annotated[
        bool,
        Field(
            description="With the first page how many runs there are of each status, whatever `status` says."
        ),
    ] = False
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = None


class StepOut(Out):
    """One step of a run."""

    id: str
    run_id: str
    name: str
    agent_id: str | None
    action: str
    lane: str
    status: StepStatus
    reason: str | None
    error: str
    attempt: int
    needs: list[str]
    start: datetime | None
    end: datetime | None
    next_at: datetime | None
    exit_code: int | None
    result: dict[str, Any]
    usage: dict[str, Any]
    tier: str | None
    logs_ref: str | None
    artifacts_ref: list[str]
    policy_events: list[dict[str, Any]]
    cache_key: str | None
    input_tree: str | None
    output_tree: str | None
    approval_id: str | None
    waiting: dict[str, Any] | None
    child_run_id: str | None
    commit_sha: str | None


class RunSummary(Out):
    """A run in a list."""

    id: str
    project_id: str | None
    pipeline_id: str
    kind: str
    status: RunStatus
    reason: str | None
    detail: str
    repo_name: str
    branch: str
    trigger: dict[str, Any]
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class StepCounts(Out):
    """How many steps a run has, how many of them went wrong, how many have not ended."""

    total: int
    failed: int
    open: int


class Span(Out):
    """When a step ran."""

    lane: str
    status: StepStatus
    start: datetime | None
    end: datetime | None


class RunRow(RunSummary):
    """A run in a list. `steps` and `spans` (the first 24 steps) where they were asked for."""

    steps: StepCounts | None
    spans: list[Span] | None


class RunOut(RunSummary):
    """A run with its steps, at most 200 of them; the view has all."""

    params: dict[str, Any]
    input_fingerprint: str
    priority: int
    deadline_at: datetime
    steps: list[StepOut]
    steps_total: int
    provenance: dict[str, Any]


class RunList(Out):
    """One page, newest first."""

    items: list[RunRow]
    next_cursor: str | None
    counts: Annotated[
        dict[str, int] | None,
        Field(description="Runs by status, of the newest 20,000; where it was asked for."),
    ] = None
