"""The words of a replay."""

from typing import Annotated, Any, Literal

from pydantic import Field

from builderos.core.schema import In, Line, Out, Text, WriteIn

from .rows import RunStatus
from .view_diff import RunDiff


class ReplayIn(WriteIn):
    """Which run, and what to change."""

    id: Line
    against: Annotated[
        Text | None,
        Field(
            description="One thing to change: param.goal=x, env.MODE=b, pipeline@1.1.0; planner@2.0.0 is a prompt.",
            max_length=4000,
        ),
    ] = None


class ReplayStarted(Out):
    """A replay that was accepted: a run of its own."""

    run_id: str
    of: str
    against: str | None
    status: RunStatus
    message: str


class ReplayResultIn(In):
    """Which replay."""

    id: Annotated[Line, Field(description="The run that `replayRun` started.")]


class ReplayedStep(Out):
    """What a step came to. `verdict`: same (executed again), recorded (served, `why` says it), unchanged (nothing it
    is made of has changed), diverged, skipped, or open while the replay goes on.
    """

    name: str
    status: str
    verdict: Literal["same", "recorded", "unchanged", "diverged", "skipped", "open"]
    why: str | None
    of: str | None
    differs: list[str]
    ingredients: Annotated[
        list[str], Field(description="What it is made of that has changed, e.g. env.MODE.")
    ]


class Divergence(Out):
    """The first step that came to something else, and the first file in which it shows."""

    step: str
    differs: list[str]
    expected: dict[str, Any]
    found: dict[str, Any]
    error: str
    path: str | None
    diff: RunDiff | None


class ReplayResult(Out):
    """How a replay came out. `reproduced` is null while it goes on."""

    run_id: str
    of: str
    against: str | None
    status: RunStatus
    reproduced: bool | None
    executed: Annotated[int, Field(description="Steps that were executed again.")]
    served: Annotated[int, Field(description="Steps that were served from the record.")]
    steps: list[ReplayedStep]
    first_divergence: Divergence | None
    message: str
